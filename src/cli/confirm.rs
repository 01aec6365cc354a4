//! Asking before something is done that cannot be undone.

use std::io::{IsTerminal, Write};

use anyhow::bail;

/// What is wrong with a call without `--yes` without a terminal.
pub const YES_IS_REQUIRED: &str = "--yes is required without a terminal";

/// Whether there is a terminal to ask at.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

/// Goes on where `yes` was given, or is the answer to a question.
///
/// # Errors
/// It is not, and nothing is to be done.
pub fn agreed(yes: bool, question: &str) -> anyhow::Result<()> {
    if yes || ask(question)? { Ok(()) } else { bail!("nothing was changed") }
}

/// Asks a question whose answer is no unless it is yes.
fn ask(question: &str) -> anyhow::Result<bool> {
    let mut prompt = std::io::stderr();
    write!(prompt, "{question} [y/N] ")?;
    prompt.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

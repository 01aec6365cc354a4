//! Asking before something is done that cannot be undone.

use std::io::{IsTerminal, Write};

/// What is wrong with a call without `--yes` without a terminal.
pub const YES_IS_REQUIRED: &str = "--yes is required without a terminal";

/// Whether there is a terminal to ask at.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks a question whose answer is no unless it is yes.
pub fn ask(question: &str) -> anyhow::Result<bool> {
    let mut prompt = std::io::stderr();
    write!(prompt, "{question} [y/N] ")?;
    prompt.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

//! Dead letters on a terminal.

use uuid::Uuid;

use crate::{
    cli::print::{absent, harmless, text as print, time},
    domain::dead_letter::{DeadLetter, OpenedLetter, Payload},
};

/// Bytes of a binary message that are shown.
const SHOWN_BYTES: usize = 256;

/// One line a letter.
pub fn table(letters: &[DeadLetter]) -> anyhow::Result<()> {
    print(&rows(letters))
}

fn rows(letters: &[DeadLetter]) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut lines =
        vec![format!("{:<36}  {:<20}  {:<36}  {:<9}  {:>8}  REASONS", "ID", "REJECTED", "ORG", "STATE", "BYTES")];
    lines.extend(letters.iter().map(|letter| {
        let (org, state) = (org(letter.org_id), letter.state.as_str());
        let reasons = harmless(&letter.reasons.join("; "), false);
        format!(
            "{:<36}  {:<20}  {org:<36}  {state:<9}  {:>8}  {reasons}",
            letter.id,
            time(letter.rejected_at),
            letter.payload_bytes
        )
    }));
    lines.join("\n")
}

/// All of one letter.
pub fn letter(opened: &OpenedLetter) -> anyhow::Result<()> {
    let letter = &opened.letter;
    let mut lines = vec![
        format!("dead letter  {}", letter.id),
        format!("org          {}", org(letter.org_id)),
        format!("rejected at  {}", time(letter.rejected_at)),
    ];
    lines.extend(letter.reasons.iter().map(|reason| format!("reason       {}", harmless(reason, false))));
    if let Some(origin) = &letter.origin {
        lines.push(format!("came by      {} partition {} offset {}", origin.stream, origin.partition, origin.offset));
    }
    lines.push(format!("state        {}", letter.state.as_str()));
    if let (Some(by), Some(at)) = (&letter.corrected_by, letter.corrected_at) {
        lines.push(format!("corrected    {} by {}", time(at), harmless(by, false)));
    }
    if let Some(at) = letter.replayed_at {
        lines.push(format!("replayed     {}", time(at)));
    }
    if let Some(correction) = &opened.correction {
        lines.push(format!("correction   {}", harmless(correction.get(), false)));
    }
    let sha256: String = letter.payload_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    lines.push(format!("sha-256      {sha256}"));
    let kept = if opened.payload_truncated { ", of which the first 64 KiB are kept" } else { "" };
    lines.push(format!("payload      {} bytes{kept}", letter.payload_bytes));
    lines.push(String::new());
    lines.push(match &opened.payload {
        Payload::Text(text) => harmless(text, true),
        Payload::Bytes(bytes) => {
            let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
            format!("not a text; it begins with (all of it: --json)\n{}", shown.escape_ascii())
        }
    });
    print(&lines.join("\n"))
}

fn org(org_id: Option<Uuid>) -> String {
    org_id.map_or_else(absent, |org_id| org_id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dead_letter::State;

    #[test]
    fn columns_stand_below_their_headings() {
        let letter = DeadLetter {
            id: Uuid::from_u128(7),
            org_id: Some(Uuid::from_u128(8)),
            origin: None,
            rejected_at: "2026-11-25T02:35:25Z".parse().unwrap(),
            reasons: vec!["status: is required".to_owned()],
            payload_bytes: 284,
            payload_sha256: Vec::new(),
            state: State::Open,
            corrected_by: None,
            corrected_at: None,
            replayed_at: None,
        };
        let rows = rows(&[letter]);
        let (headings, row) = rows.split_once('\n').unwrap();
        for (heading, text) in [("ID", "00000000-"), ("REJECTED", "2026-"), ("STATE", "open"), ("REASONS", "status: ")]
        {
            assert_eq!(headings.find(heading), row.find(text), "{heading}:\n{rows}");
        }
        assert_eq!(headings.find("BYTES").map(|at| at + "BYTES".len()), row.find("284").map(|at| at + 3), "{rows}");
    }
}

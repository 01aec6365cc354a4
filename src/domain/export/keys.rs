//! Keys of the objects that exports generate.

use uuid::Uuid;

use super::Month;

/// What all keys begin with.
pub const PREFIX: &str = "analytics/exports/";

const MANIFEST: &str = ".manifest.json";

/// An object's key, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub org_id: Uuid,
    pub file: File,
    /// The manifest beside the file, not the file.
    pub manifest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// Of a job on demand.
    Demand(Uuid),
    /// The newest version of a month.
    Latest(Month),
    /// A version of a month, from 1.
    Version(Month, u32),
}

impl Key {
    pub const fn new(org_id: Uuid, file: File) -> Self {
        Self { org_id, file, manifest: false }
    }

    /// Of the manifest beside the file.
    pub const fn manifest(self) -> Self {
        Self { manifest: true, ..self }
    }

    /// Takes a key apart. `None` for whatever no export made.
    pub fn parse(key: &str) -> Option<Self> {
        let (org_id, name) = key.strip_prefix(PREFIX)?.split_once('/')?;
        let (name, manifest) = match name.strip_suffix(MANIFEST) {
            Some(name) => (name, true),
            None => (name, false),
        };
        let name = name.strip_suffix(".csv")?;
        let file = match name.split_once(".r") {
            Some((month, version)) => File::Version(compact_month(month)?, version.parse().ok()?),
            None => match compact_month(name) {
                Some(month) => File::Latest(month),
                None => File::Demand(Uuid::try_parse(name).ok()?),
            },
        };
        let parsed = Self { org_id: Uuid::try_parse(org_id).ok()?, file, manifest };
        // One key, one form.
        (parsed.to_string() == key).then_some(parsed)
    }
}

fn compact_month(text: &str) -> Option<Month> {
    let (year, month) = text.split_at_checked(4)?;
    format!("{year}-{month}").parse().ok()
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{}/", self.org_id)?;
        match self.file {
            File::Demand(job_id) => write!(f, "{job_id}.csv")?,
            File::Latest(month) => write!(f, "{}.csv", month.compact())?,
            File::Version(month, version) => write!(f, "{}.r{version}.csv", month.compact())?,
        }
        f.write_str(if self.manifest { MANIFEST } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_keys_are_the_contracts_and_parse() {
        let (org, job) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let march: Month = "2026-03".parse().unwrap();
        for (file, name) in [
            (File::Demand(job), format!("{job}.csv")),
            (File::Latest(march), "202603.csv".to_owned()),
            (File::Version(march, 12), "202603.r12.csv".to_owned()),
        ] {
            let key = Key::new(org, file);
            assert_eq!(key.to_string(), format!("analytics/exports/{org}/{name}"));
            assert_eq!(key.manifest().to_string(), format!("analytics/exports/{org}/{name}.manifest.json"));
            assert_eq!(Key::parse(&key.to_string()), Some(key));
            assert_eq!(Key::parse(&key.manifest().to_string()), Some(key.manifest()));
        }
    }

    #[test]
    fn foreign_objects_have_no_key() {
        let org = Uuid::from_u128(1);
        for name in [
            "202603.r012.csv",
            "202613.csv",
            "20263.csv",
            "202603.r.csv",
            "notes.txt",
            ".csv",
            "202603.csv.manifest",
            "00000000000000000000000000000002.csv",
            "a/202603.csv",
            "+20260.csv",
            "é20260.csv",
        ] {
            assert_eq!(Key::parse(&format!("{PREFIX}{org}/{name}")), None, "{name}");
        }
        assert_eq!(Key::parse("analytics/exports/202603.csv"), None);
        assert_eq!(Key::parse(&format!("other/{org}/202603.csv")), None);
    }
}

//! API keys: what one may be, and how it is shown. The secret itself is nowhere here.

use chrono::{DateTime, Months, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    event::Reason,
    json,
    named::named,
    page::{Entry, Page},
    timestamp,
};

const MAX_NAME: usize = 100;
/// Longest life of a key that expires.
const MAX_MONTHS: Months = Months::new(60);

named! {
    /// What a key may be for: never every org, and never the operation of the service.
    #[derive(Deserialize, ToSchema)]
    pub enum KeyRole {
        OrgViewer = "org_viewer",
        OrgAdmin = "org_admin",
        Finance = "finance",
        Producer = "producer",
    } else UnknownKeyRole
}

impl KeyRole {
    /// Whether a key of this role may make one of that role. The keys of an org are an org_admin's to give, of whatever role;
    /// no other may make any, and would make none but its like.
    pub fn may_make(self, role: Self) -> bool {
        self == Self::OrgAdmin || self == role
    }
}

/// A key that makes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    pub role: KeyRole,
    pub expires_at: Option<DateTime<Utc>>,
}

/// What became of a key that was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    New(ApiKey),
    /// The same was requested before: that key. Its secret is not known any more.
    Same(ApiKey),
    /// Another key was requested under that idempotency key.
    KeyTaken,
    /// The org has as many active keys as it may.
    TooMany,
    /// The key that creates it was revoked or has expired meanwhile.
    MakerEnded,
    /// Every rule that the request breaks.
    Wrong(Vec<Reason>),
}

/// A key that was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub key: ApiKey,
    /// Keys that were active and that it had made, or one of these had, newest first: as they are now.
    pub descendants: Vec<ApiKey>,
}

/// What a key that is shown turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCheck {
    Accepted(Holder),
    /// It was this org's, and was revoked or has expired; the secret was right.
    Ended {
        org_id: Uuid,
        state: KeyState,
    },
    /// There is no such key, or its secret is another.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be org_viewer, org_admin, finance or producer")]
pub struct UnknownKeyRole;

/// A key that is requested
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct NewApiKey {
    /// What it is for, for people
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    pub role: KeyRole,
    /// From when it is refused: in the future, at most five years, and not after the key that makes it, which without it is
    /// when it expires; never where that does not either
    #[schema(nullable = false)]
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewApiKey {
    /// Reads a request's body. `maker` is the key that creates it, where a key does: that has no more rights and lasts no
    /// longer.
    ///
    /// # Errors
    /// Every rule that it breaks.
    pub fn read(body: &[u8], now: DateTime<Utc>, maker: Option<Maker>) -> Result<Self, Vec<Reason>> {
        let fields = json::object(body).map_err(|reason| vec![reason])?;
        let mut reasons = Vec::new();
        let mut wrong = |field, rule: &str| reasons.push(Reason { field, rule: rule.to_owned() });
        if fields.keys().any(|name| !["name", "role", "expiresAt"].contains(&name.as_str())) {
            wrong("body", "must have no other fields than name, role and expiresAt");
        }
        let name = fields.get("name").and_then(Value::as_str).and_then(valid_name);
        if name.is_none() {
            wrong("name", NAME_FORM);
        }
        let role: Option<KeyRole> = fields.get("role").and_then(Value::as_str).and_then(|text| text.parse().ok());
        match (role, maker) {
            (None, _) => wrong("role", &UnknownKeyRole.to_string()),
            (Some(role), Some(maker)) if !maker.role.may_make(role) => {
                wrong("role", "must not be mightier than that of the key that makes it");
            }
            _ => {}
        }
        let given = fields.get("expiresAt").filter(|value| !value.is_null());
        let expires_at = given.and_then(Value::as_str).and_then(timestamp::instant);
        if given.is_some() && !expires_at.is_some_and(|time| may_expire(time, now)) {
            wrong("expiresAt", EXPIRY_FORM);
        }
        let latest = maker.and_then(|maker| maker.expires_at);
        if let (Some(time), Some(latest)) = (expires_at, latest)
            && time > latest
        {
            let latest = latest.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            wrong("expiresAt", &format!("must be at or before {latest}, when the key expires that makes it"));
        }
        let expires_at = expires_at.or(latest);
        match (name, role) {
            (Some(name), Some(role)) if reasons.is_empty() => Ok(Self { name, role, expires_at }),
            _ => Err(reasons),
        }
    }
}

pub const NAME_FORM: &str = "must have 1 to 100 characters, none of them a control character";
pub const EXPIRY_FORM: &str = "must be an RFC 3339 time in the future, at most five years from now";

/// The name, where it is one.
pub fn valid_name(text: &str) -> Option<String> {
    let fits = (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// Whether a key may expire at that time.
pub fn may_expire(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    time > now && now.checked_add_months(MAX_MONTHS).is_some_and(|latest| time <= latest)
}

named! {
    #[derive(ToSchema)]
    #[schema(as = ApiKeyState)]
    pub enum KeyState {
        Active = "active",
        Expired = "expired",
        Revoked = "revoked",
    }
}

/// A key, as it is shown
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    pub id: Uuid,
    pub org_id: Uuid,
    pub name: String,
    pub role: KeyRole,
    pub state: KeyState,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    /// The API key that it was made with; null: it was made with a token, or by command
    pub parent_id: Option<Uuid>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_by: Option<String>,
    /// To the minute
    pub last_used_at: Option<DateTime<Utc>>,
}

/// The holder of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub org_id: Uuid,
    pub role: KeyRole,
    pub expires_at: Option<DateTime<Utc>>,
}

pub type ApiKeyPage = Page<ApiKey>;

impl Entry for ApiKey {
    fn id(&self) -> Uuid {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn fields(body: &Value) -> Vec<&'static str> {
        let reasons = NewApiKey::read(body.to_string().as_bytes(), now(), None).unwrap_err();
        reasons.into_iter().map(|reason| reason.field).collect()
    }

    #[test]
    fn a_key_requires_name_and_role() {
        let read = |body: Value| NewApiKey::read(body.to_string().as_bytes(), now(), None);
        for role in KeyRole::ALL {
            let key = read(json!({"name": "é".repeat(100), "role": role})).unwrap();
            assert_eq!((key.role, key.expires_at), (role, None));
        }
        for time in ["2026-03-01T12:00:01Z", "2031-03-01T12:00:00Z"] {
            assert!(read(json!({"name": "n", "role": "finance", "expiresAt": time})).unwrap().expires_at.is_some());
        }
        assert!(read(json!({"name": "n", "role": "finance", "expiresAt": null})).is_ok());
    }

    #[test]
    fn a_key_creates_no_stronger_key() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let maker = |role, expires_at| Some(Maker { role, expires_at });
        let read = |body: Value, maker| NewApiKey::read(body.to_string().as_bytes(), now(), maker);
        let end = time("2026-03-08T12:00:00Z");
        let short = maker(KeyRole::OrgAdmin, Some(end));
        let made = read(json!({"name": "n", "role": "org_admin"}), short).unwrap();
        assert_eq!(made.expires_at, Some(end), "it inherits the end");
        let made = read(json!({"name": "n", "role": "producer", "expiresAt": "2026-03-08T12:00:00Z"}), short);
        assert_eq!(made.unwrap().expires_at, Some(end));
        let longer = read(json!({"name": "n", "role": "finance", "expiresAt": "2026-03-08T12:00:01Z"}), short);
        assert_eq!(longer.unwrap_err()[0].field, "expiresAt");
        let endless = read(json!({"name": "n", "role": "finance"}), maker(KeyRole::OrgAdmin, None)).unwrap();
        assert_eq!(endless.expires_at, None);
        for role in [KeyRole::OrgViewer, KeyRole::Finance, KeyRole::Producer] {
            let mightier = read(json!({"name": "n", "role": "org_admin"}), maker(role, None));
            assert_eq!(mightier.unwrap_err()[0].field, "role");
        }
    }

    #[test]
    fn every_rule_that_is_broken_is_named() {
        for (body, wrong) in [
            (json!([]), vec!["body"]),
            (json!({}), vec!["name", "role"]),
            (json!({"name": "", "role": "system_admin", "expiresAt": "soon"}), vec!["name", "role", "expiresAt"]),
            (json!({"name": "a\u{7}", "role": "operator"}), vec!["name", "role"]),
            (json!({"name": "x".repeat(101), "role": "finance", "secret": "s"}), vec!["body", "name"]),
            (json!({"name": "n", "role": "finance", "expiresAt": "2026-03-01T12:00:00Z"}), vec!["expiresAt"]),
            (json!({"name": "n", "role": "finance", "expiresAt": "2031-03-01T12:00:01Z"}), vec!["expiresAt"]),
            (json!({"name": 7, "role": ["finance"], "expiresAt": 7}), vec!["name", "role", "expiresAt"]),
        ] {
            assert_eq!(fields(&body), wrong, "{body}");
        }
    }
}

use serde_json::{Value, json};

use super::*;
use crate::{
    auth::{
        Role,
        fixtures::{Signer, ec, ed, key_set, rsa_of, sign},
        jwks::KeySet,
    },
    config::Secret,
};

const SECRET: &str = "a secret of the tests, thirty-two bytes or more";

fn settings() -> Auth {
    Auth {
        hs256_secret: Secret::new(SECRET),
        issuer: "issuer".into(),
        audience: "audience".into(),
        leeway_seconds: 30,
        jwks_stale_seconds: 60,
        ..Auth::default()
    }
}

fn signed(header: &Header, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = json!({
        "iss": "issuer", "aud": "audience", "sub": "ann", "exp": get_current_timestamp() + 60,
        "org_ids": [Uuid::from_u128(1)], "roles": ["org_viewer", "astronaut"],
    });
    change(&mut claims);
    jsonwebtoken::encode(header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn verified(change: impl FnOnce(&mut Value)) -> Result<Caller, Refusal> {
    Verifier::new(&settings()).verify(&signed(&Header::new(Algorithm::HS256), change))
}

#[test]
fn an_issued_token_identifies_its_caller() {
    let caller = Caller {
        subject: "ann".into(),
        org_ids: vec![Uuid::from_u128(7)],
        roles: vec![Role::Finance],
        credential: Credential::Token,
        expires_at: None,
    };
    let before = chrono::Utc::now();
    let token = issue(&settings(), &caller, Duration::from_secs(60)).unwrap();
    let verified = Verifier::new(&settings()).verify(&token).unwrap();
    let lasts = (verified.expires_at.unwrap() - before).num_seconds();
    assert!((58..=61).contains(&lasts), "{lasts}");
    assert_eq!(Caller { expires_at: None, ..verified }, caller);
}

#[test]
fn tokens_of_the_previous_secret_stay_good() {
    let token = signed(&Header::new(Algorithm::HS256), |_| ());
    let expired = signed(&Header::new(Algorithm::HS256), |claims| claims["exp"] = json!(get_current_timestamp() - 60));
    let new = Secret::new("another secret of the tests, of thirty-two bytes");
    let replaced = Auth { hs256_previous_secret: Secret::new(SECRET), hs256_secret: new.clone(), ..settings() };
    let verifier = Verifier::new(&replaced);
    assert_eq!(verifier.verify(&token).unwrap().subject, "ann");
    assert_eq!(verifier.verify(&expired), Err(Refusal::Expired));
    // What it signs is signed with the new one.
    let caller = verifier.verify(&token).unwrap();
    let issued = issue(&replaced, &caller, Duration::from_secs(60)).unwrap();
    let over = Auth { hs256_previous_secret: Secret::default(), ..replaced.clone() };
    assert!(verifier.verify(&issued).is_ok() && Verifier::new(&over).verify(&issued).is_ok());
    assert_eq!(Verifier::new(&over).verify(&token), Err(Refusal::Signature));
    // A public key of the key set is no secret, whatever else is accepted.
    let with_keys = Auth { jwks_url: Secret::new("https://issuer.test/"), ..replaced };
    let verifier = Verifier::new(&with_keys);
    verifier.key_ring().unwrap().put(KeySet::read(key_set(&[ec(1).jwk("a")]).as_bytes()).unwrap());
    let named = Header { kid: Some("a".into()), ..Header::new(Algorithm::HS256) };
    assert_eq!(verifier.verify(&signed(&named, |_| ())), Err(Refusal::Algorithm));
    assert!(verifier.verify(&token).is_ok());
}

#[test]
fn unknown_roles_are_ignored() {
    assert_eq!(verified(|_| ()).unwrap().roles, [Role::OrgViewer]);
}

#[test]
fn claims_are_required_and_must_be_ours() {
    for name in ["exp", "iss", "aud", "sub"] {
        let refused = verified(|claims| drop(claims.as_object_mut().unwrap().remove(name)));
        assert!(matches!(refused, Err(Refusal::Claims | Refusal::Malformed)), "{name}: {refused:?}");
    }
    let now = get_current_timestamp();
    for (name, value, refusal) in [
        ("exp", json!(now - 31), Refusal::Expired),
        ("exp", json!("soon"), Refusal::Claims),
        ("nbf", json!(now + 60), Refusal::NotYet),
        ("nbf", json!("later"), Refusal::Claims),
        ("iss", json!("other"), Refusal::Issuer),
        ("iss", json!(["issuer"]), Refusal::Malformed),
        ("aud", json!("other"), Refusal::Audience),
        ("sub", json!(""), Refusal::Claims),
        ("org_ids", json!(["everything"]), Refusal::Malformed),
        ("org_ids", json!("*"), Refusal::Malformed),
        ("roles", json!("system_admin"), Refusal::Malformed),
    ] {
        assert_eq!(verified(|claims| claims[name] = value.clone()), Err(refusal), "{name} {value}");
    }
}

#[test]
fn times_are_checked_with_the_leeway() {
    let now = get_current_timestamp();
    assert!(verified(|claims| claims["exp"] = json!(now - 20)).is_ok());
    assert!(verified(|claims| claims["nbf"] = json!(now + 20)).is_ok());
}

#[test]
fn the_key_decides_the_algorithm() {
    let verifier = Verifier::new(&settings());
    let good = signed(&Header::new(Algorithm::HS256), |_| ());
    let (_, rest) = good.split_once('.').unwrap();
    // {"alg":"none"}, {"alg":"RS256"}
    for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJSUzI1NiJ9"] {
        assert!(verifier.verify(&format!("{header}.{rest}")).is_err());
        let payload = rest.split_once('.').unwrap().0;
        assert!(verifier.verify(&format!("{header}.{payload}.")).is_err());
    }
    let longer = signed(&Header::new(Algorithm::HS512), |_| ());
    assert_eq!(verifier.verify(&longer), Err(Refusal::Algorithm));
}

#[test]
fn foreign_tokens_are_refused() {
    let verifier = Verifier::new(&settings());
    let mut forged = signed(&Header::new(Algorithm::HS256), |_| ());
    let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(last);
    assert_eq!(verifier.verify(&forged), Err(Refusal::Signature));
    for garbage in ["", ".", "..", "a.b.c", "\u{0}", "eyJhbGciOiJIUzI1NiJ9.e30."] {
        assert!(verifier.verify(garbage).is_err(), "{garbage}");
    }
    assert_eq!(verifier.verify(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(Refusal::TooLong));
    let critical = Header { crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::HS256) };
    assert!(verifier.verify(&signed(&critical, |_| ())).is_err());
}

#[test]
fn without_a_key_every_token_is_refused() {
    let verifier = Verifier::new(&Auth { hs256_secret: Secret::default(), ..settings() });
    let good = signed(&Header::new(Algorithm::HS256), |_| ());
    assert_eq!(verifier.verify(&good), Err(Refusal::NoKey));
}

const ORG: Uuid = Uuid::from_u128(1);

/// Has read this key set.
fn with_keys(settings: &Auth, keys: &[Value]) -> Verifier {
    let verifier = Verifier::new(&Auth { jwks_file: "keys.json".into(), ..settings.clone() });
    verifier.key_ring().unwrap().put(KeySet::read(key_set(keys).as_bytes()).unwrap());
    verifier
}

fn without_a_secret() -> Auth {
    Auth { hs256_secret: Secret::default(), ..settings() }
}

#[test]
fn a_key_verifies_the_tokens_that_name_it() {
    let signers = [("r", rsa_of(2048)), ("e", ec(1)), ("d", ed(1))];
    let keys: Vec<Value> = signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect();
    for settings in [settings(), without_a_secret()] {
        let verifier = with_keys(&settings, &keys);
        for (kid, signer) in &signers {
            let caller = verifier.verify(&signer.token(Some(kid), ORG)).unwrap();
            assert_eq!((caller.subject.as_str(), caller.org_ids.as_slice()), ("ann", &[ORG][..]), "{kid}");
            for (other, _) in signers.iter().filter(|(other, _)| other != kid) {
                let refused = verifier.verify(&signer.token(Some(other), ORG));
                assert_eq!(refused, Err(Refusal::Algorithm), "{kid}'s token names {other}");
            }
            assert_eq!(verifier.verify(&signer.token(Some("nobody"), ORG)), Err(Refusal::UnknownKey));
        }
        let forged = ec(9).token(Some("e"), ORG);
        assert_eq!(verifier.verify(&forged), Err(Refusal::Signature));
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    let attacked = rsa_of(2048);
    let others: [Signer; 2] = [ec(1), ed(1)];
    for settings in [settings(), without_a_secret()] {
        let verifier = with_keys(&settings, &[attacked.jwk("r"), others[0].jwk("e"), others[1].jwk("d")]);
        let kids = ["r", "e", "d"].map(Some).into_iter().chain([None]);
        for kid in kids {
            for form in attacked.forms.iter().chain(others.iter().flat_map(|other| &other.forms)) {
                for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
                    let forged = sign(&header, &EncodingKey::from_secret(form), ORG, |_| ());
                    assert!(verifier.verify(&forged).is_err(), "{algorithm:?} {kid:?}");
                }
            }
        }
    }
    // Alone, it is the key of tokens that name none.
    let verifier = with_keys(&without_a_secret(), &[attacked.jwk("r")]);
    let forged = sign(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(&attacked.forms[0]), ORG, |_| ());
    assert_eq!(verifier.verify(&forged), Err(Refusal::Algorithm));
}

#[test]
fn a_token_without_key_name_uses_the_default() {
    let (ours, one) = (signed(&Header::new(Algorithm::HS256), |_| ()), ec(1));
    let both = with_keys(&settings(), &[one.jwk("e")]);
    assert!(both.verify(&ours).is_ok());
    assert_eq!(both.verify(&one.token(None, ORG)), Err(Refusal::Algorithm));
    let named = Header { kid: Some("e".into()), ..Header::new(Algorithm::HS256) };
    assert_eq!(both.verify(&signed(&named, |_| ())), Err(Refusal::Algorithm));
    assert!(with_keys(&without_a_secret(), &[one.jwk("e")]).verify(&one.token(None, ORG)).is_ok());
    let two = with_keys(&without_a_secret(), &[one.jwk("e"), ed(1).jwk("d")]);
    assert_eq!(two.verify(&one.token(None, ORG)), Err(Refusal::UnknownKey));
    assert!(Verifier::new(&settings()).verify(&signed(&named, |_| ())).is_ok(), "there is no set to name a key of");
}

#[test]
fn claims_are_checked_whatever_the_key() {
    let (now, signer) = (get_current_timestamp(), ed(1));
    let verifier = with_keys(&settings(), &[signer.jwk("d")]);
    for (name, value, refusal) in [
        ("exp", json!(now - 31), Refusal::Expired),
        ("nbf", json!(now + 60), Refusal::NotYet),
        ("iss", json!("other"), Refusal::Issuer),
        ("aud", json!("other"), Refusal::Audience),
    ] {
        let token = signer.token_with(Some("d"), ORG, |claims| claims[name] = value.clone());
        assert_eq!(verifier.verify(&token), Err(refusal), "{name}");
    }
}

#[test]
fn removed_or_stale_keys_verify_nothing() {
    let signer = ec(1);
    let verifier = with_keys(&settings(), &[signer.jwk("e")]);
    let token = signer.token(Some("e"), ORG);
    assert!(verifier.verify(&token).is_ok());
    verifier.key_ring().unwrap().put(KeySet::default());
    assert_eq!(verifier.verify(&token), Err(Refusal::UnknownKey));
    let impatient = with_keys(&Auth { jwks_stale_seconds: 0, ..settings() }, &[signer.jwk("e")]);
    // Until its keys are older than they may be.
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(impatient.verify(&token), Err(Refusal::KeysAway));
    let unread = Verifier::new(&Auth { jwks_file: "keys.json".into(), ..settings() });
    assert_eq!(unread.verify(&token), Err(Refusal::KeysAway));
}

//! Filters of usage and reliability: what may be given together, and what a response says of lost names.

use serde_json::json;

use super::support::*;

const DAY: &str = "start=2026-03-01&end=2026-03-02";

fn reliability(query: &str) -> String {
    format!("/analytics/v1/orgs/{ORG}/reliability?{query}")
}

#[actix_web::test]
async fn filtered_usage_says_what_may_be_missing() {
    let plain = get(&usage_path(DAY)).await.json();
    assert_eq!(plain.get("overflow"), None);
    for filter in
        ["clientId=web", "unset=clientId", "status=error&errorCode=quota", "meta.team=a%20b&meta.%F0%9F%99%82="]
    {
        let filtered = get(&usage_path(&format!("{DAY}&{filter}"))).await;
        assert_eq!(filtered.status, 200, "{}", filtered.text);
        let overflow = json!({"invocations": 1, "inputTokens": 15, "outputTokens": 20, "costEstimateCents": 0.003});
        assert_eq!(filtered.json()["overflow"], overflow, "{filter}");
    }
}

#[actix_web::test]
async fn wrong_filters_of_usage_are_named() {
    let person = "123e4567-e89b-12d3-a456-426614174000";
    for (query, wrong) in [
        (format!("actorId={person}"), "actorId"),
        ("unset=actorId".to_owned(), "unset"),
        ("actorId=ann".to_owned(), "actorId"),
        ("status=ok".to_owned(), "status"),
        ("unset=team".to_owned(), "unset"),
        ("errorCode=%00".to_owned(), "errorCode"),
        ("meta.=a".to_owned(), "meta."),
        ("groupBy=client".to_owned(), "groupBy"),
    ] {
        assert_eq!(get(&usage_path(&format!("{DAY}&{query}"))).await.wrong_fields(), [wrong], "{query}");
    }
    let problem = get(&usage_path(&format!("{DAY}&actorId={person}"))).await.problem(400);
    let message = "no set has these together with what is filtered by; the sets are: clientId,modelId";
    assert_eq!(problem["errors"][0]["message"], message);
}

#[actix_web::test]
async fn reliability_is_filtered_by_one_label() {
    for query in [
        "clientId=web",
        "clientId=web&groupBy=client",
        "errorCode=quota&unset=errorCode&groupBy=errorCode",
        "unset=clientId",
    ] {
        assert_eq!(get(&reliability(&format!("{DAY}&{query}"))).await.status, 200, "{query}");
    }
    for (query, wrong) in [
        ("clientId=web&groupBy=model", "groupBy"),
        ("clientId=web&groupBy=errorCode", "groupBy"),
        ("errorCode=quota&groupBy=client", "groupBy"),
        ("clientId=web&errorCode=quota", "errorCode"),
        ("clientId=web&unset=errorCode", "errorCode"),
        ("unset=status", "unset"),
        ("unset=meta.team", "unset"),
        ("status=error", "status"),
        ("meta.team=a", "meta.team"),
        ("clientId=%00", "clientId"),
    ] {
        assert_eq!(get(&reliability(&format!("{DAY}&{query}"))).await.wrong_fields(), [wrong], "{query}");
    }
    let days = |days: u32, query: &str| reliability(&format!("start=2026-03-01&end=2026-03-{:02}&{query}", days + 1));
    assert_eq!(get(&days(7, "clientId=web")).await.status, 200);
    assert_eq!(get(&days(8, "clientId=web")).await.wrong_fields(), ["end"]);
}

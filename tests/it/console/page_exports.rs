//! Files: requested by what the org can group by, refused at the field that is wrong, downloaded and verified from their rows.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    chromium::Shape,
    visitor::{EXPECTED, Visitor},
};
use crate::{
    harness::{LocalStore, Service, World, eventually, settled},
    store_commit::{body, event},
};

const EVENTS: i64 = 20;

/// Events of yesterday, whose sums by client and model, and by status and model, are there.
async fn with_sums(store: &LocalStore) -> (World, Service, Uuid) {
    let mut world = World::new(1).await;
    world.set_all(store.variables());
    world.set("ANALYTICS__EXPORTS__POLL_MS", "100");
    world.set("ANALYTICS__ATTRIBUTION__SETS", "clientId,modelId; status,modelId");
    world.set("ANALYTICS__ATTRIBUTION__FOLD_SECONDS", "1");
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let yesterday = Utc::now() - TimeDelta::days(1);
    world.send((0..20).map(|n| body(&event(org.as_u128(), n, yesterday)))).await;
    settled(&mut world.connect().await, EVENTS).await;
    let token = service.token(&[org], &[analytics_service::auth::Role::OrgViewer]);
    let path = format!("/analytics/v1/orgs/{org}/attribution?start={}&groupBy=clientId", yesterday.date_naive());
    eventually("the sums by client are there", async || {
        let (_, found) = service.get(&path, &token).await;
        (found["totals"]["invocations"] == EVENTS).then_some(())
    })
    .await;
    (world, service, org)
}

/// Clicks what has this text, as a label or a button.
async fn click(visitor: &Visitor, within: &str, text: &str) {
    let script = format!(
        "const found = [...document.querySelectorAll('{within}')].find(one => one.textContent.trim() === '{text}');
         found?.click(); return !!found"
    );
    assert_eq!(visitor.browser.script(&script).await, true, "{text}: {}", visitor.browser.text().await);
}

#[tokio::test]
async fn a_file_by_dimensions_is_requested_and_verified() {
    let store = LocalStore::new();
    let (world, service, org) = with_sums(&store).await;
    let with = ["--org", &org.to_string(), "--role", "finance"];
    for shape in [Shape::default(), Shape { width: 360, height: 740, dark: true, zone: "UTC" }] {
        let Some(visitor) = Visitor::enter(&world, service.api, shape, &with).await else { return };
        visitor.at("exports?range=yesterday").await;
        visitor.browser.shown(".request option[value=dimensions]:not(:disabled)").await;
        let grouped = visitor.browser.shown(".request .field:nth-child(4) select").await;
        grouped.select_by_value("dimensions").await.unwrap();
        let offered = visitor.texts("fieldset label").await;
        assert_eq!(offered.iter().map(|text| text.trim()).collect::<Vec<_>>(), ["Client", "Model", "Status"]);
        click(&visitor, "fieldset label", "Client").await;
        click(&visitor, "fieldset label", "Status").await;
        click(&visitor, ".request button", "Request").await;
        visitor.browser.says("no set has these together").await;
        assert_eq!(visitor.texts("fieldset .error").await.len(), 1, "at its field");
        assert_eq!(visitor.texts("main .notice").await, Vec::<String>::new(), "and nowhere else");
        assert_eq!(visitor.browser.barriers().await, Vec::<String>::new(), "{}", shape.width);
        click(&visitor, "fieldset label", "Status").await;
        click(&visitor, "fieldset label", "Model").await;
        click(&visitor, ".request label", "With names: columns with what people call the ids").await;
        click(&visitor, ".request button", "Request").await;
        visitor.browser.says("day, client, model; with names").await;
        visitor.browser.shown("td a[download]").await;
        visitor.browser.shown("td button[aria-label^=Verify]").await.click().await.unwrap();
        visitor.browser.says("holds").await;
        visitor.browser.says("The file has the checksum").await;
        let wider = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(visitor.browser.script(wider).await, false, "{}", shape.width);
        assert_eq!(visitor.browser.complaints(&[&EXPECTED[..], &[400]].concat()).await, Vec::<String>::new());
    }
    let token = service.token(&[org], &[analytics_service::auth::Role::Finance]);
    let of = |job: &Value| (job["groupBy"].clone(), job["names"].clone(), job["totals"]["invocations"].clone());
    let wanted = (json!(["clientId", "modelId"]), json!(true), json!(EVENTS));
    eventually("both files have every event", async || {
        let (_, found) = service.get(&format!("/analytics/v1/orgs/{org}/exports"), &token).await;
        let jobs: Vec<_> = found["exports"].as_array().unwrap().iter().map(of).collect();
        (jobs == [wanted.clone(), wanted.clone()]).then_some(())
    })
    .await;
}

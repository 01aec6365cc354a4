//! What is clicked twice, comes late or is lost by a key.

use chrono::Utc;
use fantoccini::key::Key;
use serde_json::json;
use uuid::Uuid;

use super::{
    chromium::Shape,
    visitor::{EXPECTED, Visitor},
};
use crate::{
    harness::{World, eventually, settled},
    store_commit::{body, event},
};

#[tokio::test]
async fn a_key_is_created_once_and_stays_shown() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let with = ["--org", &Uuid::new_v4().to_string(), "--role", "org_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    visitor.at("api-keys").await;
    visitor.browser.shown("main button.primary").await.click().await.unwrap();
    visitor.browser.shown("dialog input[type='text']").await.send_keys("dashboard").await.unwrap();
    let twice = "const create = document.querySelector('dialog button.primary'); create.click(); create.click();";
    visitor.browser.script(twice).await;
    visitor.browser.says("it is shown only once").await;
    for _ in 0..2 {
        visitor.press(&Key::Escape.to_string()).await;
    }
    visitor.browser.script("document.querySelector('dialog').click()").await;
    let shown = "return document.querySelector('dialog[open] .secret')?.textContent ?? ''";
    assert!(visitor.browser.script(shown).await.as_str().unwrap().contains("ak_"));
    visitor.browser.shown("dialog .buttons button:last-child").await.click().await.unwrap();
    visitor.settled().await;
    let created: i64 = sqlx::query_scalar("SELECT count(*) FROM analytics.api_keys")
        .fetch_one(&mut world.connect().await)
        .await
        .unwrap();
    assert_eq!(created, 1);
    assert_eq!(visitor.texts("main tbody tr").await.len(), 1);
    assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_that_loads_late_takes_no_others_place() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let with = ["--org", &Uuid::new_v4().to_string(), "--role", "org_viewer"];
    let Some(mut visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    visitor.at("usage").await;
    visitor.browser.run("Network.enable", json!({})).await;
    let slow = json!({"offline": false, "latency": 1000, "downloadThroughput": -1, "uploadThroughput": -1});
    visitor.browser.run("Network.emulateNetworkConditions", slow).await;
    let there_and_back = "const done = arguments[arguments.length - 1];
        const go = page => document.querySelector(`.side a[href*='/console/${page}']`).click();
        go('reliability');
        setTimeout(() => { go('usage'); done(); }, 200);";
    visitor.browser.script_async(there_and_back).await;
    let loaded = "const done = arguments[arguments.length - 1];
        const found = performance.getEntriesByType('resource').find(one => one.name.endsWith('/js/app.js'));
        import(found.name.replace('app.js', 'pages/reliability.js')).then(() => setTimeout(() => done('loaded'), 100), error => done(String(error)));";
    assert_eq!(visitor.browser.script_async(loaded).await, "loaded");
    visitor.settled().await;
    visitor.browser.says("Compare with the period before").await;
}

#[tokio::test]
async fn a_check_is_of_the_text_that_was_sent() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let good = String::from_utf8(body(&event(org.as_u128(), 1, Utc::now()))).unwrap();
    let bad = good.replace("\"latencyMs\":12", "\"latencyMs\":-12");
    world.send([bad.clone().into_bytes()]).await;
    settled(&mut world.connect().await, 1).await;
    let with = ["--org", &org.to_string(), "--role", "org_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    visitor.at("dead-letters").await;
    visitor.browser.shown("main tbody a").await.click().await.unwrap();
    visitor.browser.shown("textarea").await;
    // The response is held until the text is another one.
    let held = "const before = fetch; window.fetch = async (address, ...rest) => {
        const response = await before(address, ...rest);
        if (address.includes('/validate')) await new Promise(done => { window.release = done; });
        return response; };
        window.type = text => { const area = document.querySelector('textarea'); area.value = text;
            area.dispatchEvent(new Event('input', { bubbles: true })); };
        document.querySelector('.editor').scrollIntoView();";
    visitor.browser.script(held).await;
    let check = "[...document.querySelectorAll('.editor button')].find(one => one.textContent === 'Check').click()";
    let typed = |text: &str| format!("type({});", json!(text));
    visitor.browser.script(&(typed(&good))).await;
    visitor.browser.script(check).await;
    eventually("the response is there", async || {
        visitor.browser.script("return !!window.release").await.as_bool().unwrap().then_some(())
    })
    .await;
    visitor.browser.script(&(typed(&bad) + "release();")).await;
    eventually("the check is over", async || {
        let working = "return [...document.querySelectorAll('.editor [aria-disabled=true]')].length";
        (visitor.browser.script(working).await == 0).then_some(())
    })
    .await;
    let said = "return document.getElementById('editor-result').textContent";
    assert_eq!(visitor.browser.script(said).await, "");
    visitor.browser.script(&typed(&good)).await;
    visitor.browser.says("keeps every rule").await;
}

#[tokio::test]
async fn letters_that_were_not_counted_are_not_none() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let with = ["--org", &Uuid::new_v4().to_string(), "--role", "org_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    visitor.at("usage").await;
    let lost = "const before = fetch;
        window.fetch = (address, ...rest) => address.includes('/dead-letters') ? Promise.reject(new TypeError('lost')) : before(address, ...rest);
        document.querySelector('.side a').click();";
    visitor.browser.script(lost).await;
    eventually("the other figures are there", async || {
        visitor.settled().await;
        visitor.browser.text().await.contains("Open dead letters").then_some(())
    })
    .await;
    let figures = visitor.figures().await;
    assert!(figures.contains(&("Open dead letters".to_owned(), "–".to_owned())), "{figures:?}");
    assert!(!visitor.browser.text().await.contains("nothing waits"));
}

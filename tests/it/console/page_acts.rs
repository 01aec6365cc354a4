//! What people do with the pages: who may see which, a message corrected by keys alone, an actor restarted, a database that is away.

use chrono::Utc;
use fantoccini::key::Key;
use uuid::Uuid;

use super::{
    chromium::{Chromium, Shape},
    link,
    visitor::{EXPECTED, Visitor},
};
use crate::{
    harness::{LedgerSums, World, eventually, settled},
    store_commit::{body, event},
};

const PAGES: [&str; 9] =
    ["", "usage", "reliability", "trust", "exports", "dead-letters", "api-keys", "audit", "unreadable"];

#[tokio::test]
async fn pages_are_for_the_roles_that_may_read_them() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4().to_string();
    let with = ["--org", &org, "--role"];
    let Some(visitor) =
        Visitor::enter(&world, service.api, Shape::default(), &[&with[..], &["org_viewer"]].concat()).await
    else {
        return;
    };
    for (role, may) in [
        ("org_viewer", &PAGES[..4]),
        ("org_admin", &PAGES[..7]),
        ("finance", &["", "usage", "trust", "exports"]),
        ("producer", &[]),
        ("system_admin", &PAGES[..]),
    ] {
        visitor.sign_in(&world, &[&with[..], &[role]].concat()).await;
        for page in PAGES {
            visitor.at(page).await;
            let refused = visitor.texts("main .notice").await.iter().any(|text| text.contains("You may not see this"));
            assert_eq!(refused, !may.contains(&page), "{role} at {page:?}");
        }
        assert_eq!(visitor.texts(".side a").await.len(), may.len(), "{role}");
    }
    // 403: the page of the role before was still loading.
    assert_eq!(visitor.browser.complaints(&[401, 403, 503]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_message_is_corrected_with_keys_alone() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let good = event(org.as_u128(), 1, Utc::now());
    let text = String::from_utf8(body(&good)).unwrap();
    world.send([text.replace("\"latencyMs\":12", "\"latencyMs\":-12").into_bytes()]).await;
    settled(&mut world.connect().await, 1).await;
    let with = ["--org", &org.to_string(), "--role", "org_admin"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    let enter = Key::Enter.to_string();
    visitor.tab_to("Dead letters").await;
    visitor.press(&enter).await;
    visitor.browser.says("must be an integer from 0 to 86400000").await;
    visitor.tab_to("Correct").await;
    visitor.press(&enter).await;
    visitor.browser.shown("textarea").await;
    visitor.tab_to("Event (JSON)").await;
    visitor.press(&(Key::Control + "a")).await;
    visitor.press(&text).await;
    visitor.tab_to("Check").await;
    visitor.press(&enter).await;
    visitor.browser.says("keeps every rule").await;
    // Back to the button before it.
    visitor.press(&(Key::Shift + &Key::Tab.to_string())).await;
    visitor.press(&enter).await;
    visitor.browser.says("It is in the numbers").await;
    let sums = LedgerSums::of_batches(&mut world.connect().await).await;
    assert_eq!((sums.stored, sums.rejected), (1, 1));
    assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_operator_restarts_and_nothing_is_lost() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4().as_u128();
    world.send((0..20).map(|n| body(&event(org, n, Utc::now())))).await;
    settled(&mut world.connect().await, 20).await;
    let with = ["--port", "operations", "--role", "operator"];
    let Some(visitor) = Visitor::enter(&world, service.ops, Shape::default(), &with).await else { return };
    visitor.at("").await;
    visitor.browser.shown("[aria-label='Restart writer/0']").await.click().await.unwrap();
    visitor.browser.says("All actors of partition/0 restart together").await;
    visitor.browser.shown("dialog button.primary:not(:disabled)").await.click().await.unwrap();
    visitor.browser.says("It runs again, and nothing was lost.").await;
    visitor.browser.says("all 20 received messages are stored, duplicates or rejected").await;
    visitor.at("supervision?actor=writer/0").await;
    visitor.browser.says("restart requested").await;
    for page in ["partitions", "data-life"] {
        visitor.at(page).await;
        if page == "data-life" {
            visitor.browser.says("not counted yet").await;
        }
        assert_eq!(visitor.browser.barriers().await, Vec::<String>::new(), "{page}");
    }
    assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_without_numbers_links_to_where_they_may_be() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4().to_string();
    let with = ["--org", &org, "--role", "org_viewer"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    let address = async || visitor.browser.client.current_url().await.unwrap();
    for page in ["", "usage", "reliability"] {
        visitor.at(&format!("{page}?org={org}&range=7d&zone=Asia/Kolkata")).await;
        visitor.browser.shown("main .empty a").await.click().await.unwrap();
        visitor.browser.says("No message arrived in this range.").await;
        let (path, query) = ("/console/trust", format!("org={org}&range=7d&zone=Asia/Kolkata"));
        assert_eq!((address().await.path(), address().await.query()), (path, Some(query.as_str())), "{page}");
    }
    visitor.browser.shown("main .empty a").await.click().await.unwrap();
    visitor.settled().await;
    assert_eq!(address().await.query(), Some(format!("org={org}&range=90d&zone=Asia/Kolkata").as_str()));
    // 90 days, of which one had 25 hours.
    visitor.at(&format!("trust?org={org}&start=2025-10-01&end=2025-12-30&zone=Europe/Berlin")).await;
    visitor.browser.says("No message arrived in this range.").await;
    assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_shown_stays_while_the_database_is_away() {
    let mut world = World::new(1).await;
    let database = world.proxy_database();
    let service = world.serve().await;
    let org = Uuid::new_v4();
    world.send([body(&event(org.as_u128(), 1, Utc::now()))]).await;
    settled(&mut world.connect().await, 1).await;
    let with = ["--org", &org.to_string(), "--role", "org_viewer"];
    let Some(visitor) = Visitor::enter(&world, service.api, Shape::default(), &with).await else { return };
    visitor.at("trust?range=today").await;
    visitor.browser.says("1 received").await;
    database.cut();
    visitor.browser.says("The service, or its database, does not respond.").await;
    visitor.browser.says("1 received").await;
    database.heal();
    eventually("it is refreshed", async || {
        let stale = visitor.texts("main .notice.warn").await;
        stale.is_empty().then_some(())
    })
    .await;
    // A page that is opened meanwhile is there by itself when the database is.
    database.cut();
    visitor.browser.open(&format!("http://{}/console/trust?range=today", service.api)).await;
    visitor.browser.says("Try again").await;
    database.heal();
    visitor.browser.says("1 received").await;
}

/// What it refreshes by itself, it does so less often than this waits.
#[tokio::test]
async fn what_was_never_shown_is_requested_again_soon() {
    let mut world = World::new(1).await;
    let database = world.proxy_database();
    let service = world.serve().await;
    let with = ["--role", "operator", "--port", "operations"];
    let Some(visitor) = Visitor::enter(&world, service.ops, Shape::default(), &with).await else { return };
    visitor.settled().await;
    database.cut();
    visitor.browser.shown("nav a[href*=data-life]").await.click().await.unwrap();
    visitor.browser.says("Try again").await;
    database.heal();
    visitor.browser.says("of TimescaleDB").await;
}

#[tokio::test]
async fn a_link_is_good_still_after_an_outage() {
    let mut world = World::new(1).await;
    let database = world.proxy_database();
    let service = world.serve().await;
    let printed = link(&world, &["--role", "operator", "--port", "operations"]).await;
    let Some(browser) = Chromium::start(Shape::default()).await else { return };
    database.cut();
    let (_, secret) = printed.split_once("#link=").unwrap();
    browser.open(&format!("http://{}/console/sign-in#link={secret}", service.ops)).await;
    browser.says("The link is still good").await;
    database.heal();
    browser.shown("nav").await;
}

#[tokio::test]
async fn every_page_can_be_used_by_everybody() {
    let world = World::new(1).await;
    let service = world.serve().await;
    let org = Uuid::new_v4();
    let wrong = String::from_utf8(body(&event(org.as_u128(), 2, Utc::now())))
        .unwrap()
        .replace("\"latencyMs\":12", "\"latencyMs\":-12");
    world.send([body(&event(org.as_u128(), 1, Utc::now())), wrong.into_bytes(), b"none".to_vec()]).await;
    settled(&mut world.connect().await, 3).await;
    let with = ["--org", &org.to_string(), "--role", "org_admin", "--role", "system_admin"];
    for shape in [Shape::default(), Shape { width: 360, height: 740, dark: true, zone: "UTC" }] {
        let Some(visitor) = Visitor::enter(&world, service.api, shape, &with).await else { return };
        for page in PAGES {
            visitor.at(page).await;
            visitor
                .browser
                .script("document.querySelectorAll('details.data summary').forEach(found => found.click())")
                .await;
            assert_eq!(visitor.browser.barriers().await, Vec::<String>::new(), "{page} at {}", shape.width);
            let wider = "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
            assert_eq!(visitor.browser.script(wider).await, false, "{page} at {}", shape.width);
        }
        visitor.at("dead-letters").await;
        visitor.browser.shown("main tbody a").await.click().await.unwrap();
        visitor.browser.shown("textarea").await;
        assert_eq!(visitor.browser.barriers().await, Vec::<String>::new(), "a letter at {}", shape.width);
        assert_eq!(visitor.browser.complaints(&EXPECTED).await, Vec::<String>::new());
    }
}

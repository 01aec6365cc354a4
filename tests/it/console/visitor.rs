//! Somebody in front of the console: signed in by a link, on a page, with keys and eyes.

use std::net::SocketAddr;

use fantoccini::key::Key;
use serde_json::Value;

use super::{
    chromium::{Chromium, Shape},
    link,
};
use crate::harness::{World, eventually};

/// Presses of Tab after which what is looked for is taken for unreachable.
const MOST_TABS: usize = 150;

/// Refusals that the browser logs: a page requests who is signed in before anybody is, and a busy database again.
pub const EXPECTED: [u16; 2] = [401, 503];

pub struct Visitor {
    pub browser: Chromium,
    base: SocketAddr,
}

impl Visitor {
    /// None where no browser can be had.
    pub async fn enter(world: &World, base: SocketAddr, shape: Shape, with: &[&str]) -> Option<Self> {
        let browser = Chromium::start(shape).await?;
        let visitor = Self { browser, base };
        visitor.sign_in(world, with).await;
        Some(visitor)
    }

    /// Follows a new link, in the place of the one before.
    pub async fn sign_in(&self, world: &World, with: &[&str]) {
        let printed = link(world, with).await;
        let (_, secret) = printed.split_once("#link=").unwrap();
        // From a page that is no page of the console, since a fragment alone loads nothing.
        self.browser.open("about:blank").await;
        self.browser.open(&format!("http://{}/console/sign-in#link={secret}", self.base)).await;
        eventually("somebody is signed in", async || {
            let enter = "document.querySelector('#replace')?.click(); return !!document.querySelector('nav')";
            (self.browser.script(enter).await == Value::Bool(true)).then_some(())
        })
        .await;
    }

    /// Opens a page and waits until everything of it is there.
    pub async fn at(&self, page: &str) {
        self.browser.open(&format!("http://{}/console/{page}", self.base)).await;
        self.settled().await;
    }

    /// Waits until nothing is loaded any more. Requests what a busy service refused again, as a person would.
    pub async fn settled(&self) {
        eventually("the page is loaded", async || {
            let waits = "const busy = [...document.querySelectorAll('main .notice.bad')].flatMap(notice =>
                    notice.textContent.includes('The service is busy') ? [...notice.querySelectorAll('button')] : []);
                busy.forEach(again => again.click());
                return busy.length > 0 || !document.querySelector('main') || !!document.querySelector('.skeleton, [aria-busy=\"true\"]')";
            (self.browser.script(waits).await == Value::Bool(false)).then_some(())
        })
        .await;
    }

    /// The texts of what a selector finds.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script = format!("return [...document.querySelectorAll('{selector}')].map(found => found.textContent)");
        strings(&self.browser.script(&script).await)
    }

    /// Exact figures of the page's tiles: of each its name and what it says when it is pointed at.
    pub async fn figures(&self) -> Vec<(String, String)> {
        let script = "return [...document.querySelectorAll('.tile')].flatMap(tile => [tile.querySelector('.tile-label').textContent,
            tile.querySelector('.tile-value').title || tile.querySelector('.tile-value').textContent])";
        strings(&self.browser.script(script).await).chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    /// Opens the numbers of the first chart, and gives the cells of each row.
    pub async fn numbers(&self) -> Vec<Vec<String>> {
        self.browser.script("document.querySelector('details.data summary').click()").await;
        self.browser.shown("details.data table").await;
        let script = "return [...document.querySelectorAll('details.data tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))";
        let rows = self.browser.script(script).await;
        rows.as_array().unwrap().iter().map(strings).collect()
    }

    pub async fn press(&self, keys: &str) {
        let active = self.browser.client.active_element().await.unwrap();
        active.send_keys(keys).await.unwrap();
    }

    /// Tabs until what has the focus has this text or name.
    pub async fn tab_to(&self, name: &str) {
        let focused = "const found = document.activeElement; return [found.getAttribute('aria-label'), found.tagName === 'TEXTAREA'
            ? found.labels[0].textContent : found.textContent].filter(Boolean).join('\\n')";
        let mut seen = Vec::new();
        for _ in 0..MOST_TABS {
            let text = self.browser.script(focused).await.as_str().unwrap_or_default().to_owned();
            if text.lines().any(|line| line.trim() == name) {
                return;
            }
            seen.push(text.chars().take(30).collect::<String>());
            self.press(&Key::Tab.to_string()).await;
        }
        panic!("no key leads to {name}: {seen:?}");
    }
}

fn strings(value: &Value) -> Vec<String> {
    let found = value.as_array().unwrap_or_else(|| panic!("{value}"));
    found.iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}

/// What a person reads as a number: without the marks between thousands and without its unit.
pub fn digits(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect::<String>().trim_end_matches('.').to_owned()
}

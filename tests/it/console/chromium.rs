//! A real browser, which Debian packages: chromium, by its chromedriver.

use std::{
    fmt::Debug,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, wd::WebDriverCompatibleCommand};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use crate::harness::{eventually, free_address, local_folder, not_run};

/// Longest that a page has for a thing to be there.
const SHOWN_WITHIN: std::time::Duration = std::time::Duration::from_secs(120);

/// A browser with one window and a profile of its own. When it is dropped it is gone.
pub struct Chromium {
    driver: Child,
    pub client: Client,
    profile: TempDir,
}

/// How the browser of a test differs from the usual one.
#[derive(Clone, Copy)]
pub struct Shape {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    /// The zone of the machine that it runs on, which must not matter.
    pub zone: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self { width: 1280, height: 900, dark: false, zone: "UTC" }
    }
}

impl Chromium {
    /// None where no browser can be had.
    pub async fn start(shape: Shape) -> Option<Self> {
        if !["chromium", "chromedriver"].iter().all(|program| is_there(program)) {
            not_run("chromium and chromedriver are not there (make test installs them)");
            return None;
        }
        let (profile, address) = (tempfile::tempdir().unwrap(), free_address());
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .env("TZ", shape.zone)
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut args = vec![
            "--headless=new".to_owned(),
            // Tests run as root in containers, where Chromium's own sandbox cannot be set up.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            // A page that would load something from elsewhere is not to reach it.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={},{}", shape.width, shape.height),
        ];
        if shape.dark {
            args.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let options = json!({"args": args});
        let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let Value::Object(wanted) = wanted else { unreachable!() };
        let mut browser = Self { driver, client: connect(address.port(), wanted).await, profile };
        // Smaller than the least that a window of the desktop may have.
        browser
            .run(
                "Emulation.setDeviceMetricsOverride",
                json!({
                    "width": shape.width, "height": shape.height, "deviceScaleFactor": 1, "mobile": shape.width < 600,
                }),
            )
            .await;
        Some(browser)
    }

    /// Loads a page.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// What a selector finds, once it is shown.
    pub async fn shown(&self, selector: &str) -> Element {
        let found = self.client.wait().at_most(SHOWN_WITHIN).for_element(Locator::Css(selector)).await;
        match found {
            Ok(found) => found,
            Err(error) => panic!("{selector}: {error}\n{}", self.text().await),
        }
    }

    /// The text of the page, as somebody sees it.
    pub async fn text(&self) -> String {
        let text = self.script("return document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows a text.
    pub async fn says(&self, text: &str) {
        let deadline = std::time::Instant::now() + SHOWN_WITHIN;
        while !self.text().await.contains(text) {
            assert!(std::time::Instant::now() < deadline, "no {text:?} in {}", self.text().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// The value of a script in the page.
    pub async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// The value of a script that calls its last argument with it when it is done.
    pub async fn script_async(&self, script: &str) -> Value {
        self.client.execute_async(script, Vec::new()).await.unwrap()
    }

    /// What a page may not do: errors and refusals of the content security policy that the browser has logged since the last look, but
    /// for requests that were refused by a status that the test expects.
    pub async fn complaints(&self, expected: &[u16]) -> Vec<String> {
        let entries = self.client.issue_cmd(Log).await.unwrap();
        let entries = entries.as_array().unwrap().iter();
        let of_status = |text: &str| expected.iter().any(|status| text.contains(&format!("status of {status}")));
        let texts = entries.filter(|entry| entry["level"] != "INFO" && entry["level"] != "DEBUG");
        texts.filter_map(|entry| entry["message"].as_str()).filter(|text| !of_status(text)).map(str::to_owned).collect()
    }

    /// What axe finds wrong with how the page is accessible, by WCAG 2.2 AA. Empty, and said to be not run, where axe cannot be had.
    pub async fn barriers(&self) -> Vec<String> {
        let Ok(axe) = std::fs::read_to_string(local_folder().join("node/node_modules/axe-core/axe.min.js")) else {
            not_run("axe-core is not there (make test installs it)");
            return Vec::new();
        };
        self.client.execute(&axe, Vec::new()).await.unwrap();
        let found = self
            .script_async(
                "const done = arguments[arguments.length - 1];
                 axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
                    .then(({violations}) => done(violations.map(({id, help, nodes}) =>
                        `${id}: ${help}: ${nodes.map(node => node.target.join(' ')).join(', ')}`)), error => done([String(error)]));",
            )
            .await;
        let found = found.as_array().cloned().unwrap_or_default();
        found.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A command of Chromium's own protocol.
    pub async fn run(&mut self, command: &'static str, parameters: Value) -> Value {
        self.client.issue_cmd(Devtools { command, parameters }).await.unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver leaves its browser behind when it is ended, so all of its group is.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
    }
}

#[tokio::test]
async fn nothing_of_a_browser_is_left() {
    let Some(browser) = Chromium::start(Shape::default()).await else { return };
    let profile = browser.profile.path().to_str().unwrap().to_owned();
    let processes = || {
        let all = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
        all.filter(|line| String::from_utf8_lossy(line).contains(&profile)).count()
    };
    assert!(processes() > 1);
    drop(browser);
    eventually("all of them are gone", async || (processes() == 0).then_some(())).await;
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

async fn connect(port: u16, wanted: serde_json::Map<String, Value>) -> Client {
    let url = format!("http://127.0.0.1:{port}");
    eventually("the browser is there", async || {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(wanted.clone());
        builder.connect(&url).await.ok()
    })
    .await
}

/// What the browser has logged.
#[derive(Debug)]
struct Log;

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

#[derive(Debug)]
struct Devtools {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"cmd": self.command, "params": self.parameters}).to_string()))
    }
}

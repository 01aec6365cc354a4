//! The console: signing in, what a session is good for and when it ends, and its pages in a real browser.

mod assets;
mod chromium;
mod guards;
mod issuer;
mod page_acts;
mod page_exports;
mod page_faults;
mod page_numbers;
mod page_races;
mod pages;
mod sessions;
mod visitor;

use std::net::SocketAddr;

use analytics_service::domain::console::ConsolePort;
use reqwest::{Method, StatusCode, header::SET_COOKIE};
use serde_json::{Value, json};

use crate::harness::{Service, World, responded};

/// What the console requests first.
pub const ME: &str = "/analytics/v1/me";

/// What a browser that is signed in sends.
#[derive(Clone)]
pub struct Browser {
    client: reqwest::Client,
    address: SocketAddr,
    /// Name and value.
    pub cookie: String,
}

impl Browser {
    /// One that has no session yet.
    pub fn new(service: &Service, port: ConsolePort) -> Self {
        let address = match port {
            ConsolePort::Api => service.api,
            ConsolePort::Operations => service.ops,
        };
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, address, cookie: String::new() }
    }

    /// The same browser at another process, as behind a load balancer.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Signs in, and keeps the cookie where that was successful.
    pub async fn sign_in(&mut self, with: &Value) -> (StatusCode, Value) {
        responded(async || self.try_sign_in(with).await).await
    }

    /// The same once.
    pub async fn try_sign_in(&mut self, with: &Value) -> (StatusCode, Value) {
        let response =
            self.request(Method::POST, "/console/sign-in").header("x-console", "1").json(with).send().await.unwrap();
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            let cookie = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
            assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{cookie}");
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        (status, response.json().await.unwrap_or_default())
    }

    /// Signs in by a link as the command prints it.
    pub async fn follow(&mut self, link: &str) -> (StatusCode, Value) {
        self.sign_in(&json!({"link": link.split_once("#link=").unwrap().1})).await
    }

    pub async fn sign_out(&self) -> StatusCode {
        responded(async || (self.try_sign_out().await, ())).await.0
    }

    /// The same once.
    pub async fn try_sign_out(&self) -> StatusCode {
        let request = self.request(Method::POST, "/console/sign-out").header("x-console", "1");
        request.send().await.unwrap().status()
    }

    /// A request as it is, with the cookie.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        if self.cookie.is_empty() { request } else { request.header("cookie", &self.cookie) }
    }

    /// A GET that a page causes.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        responded(async || self.try_get(path).await).await
    }

    /// The same once.
    pub async fn try_get(&self, path: &str) -> (StatusCode, Value) {
        let response = self.request(Method::GET, path).header("x-console", "1").send().await.unwrap();
        (response.status(), response.json().await.unwrap_or_default())
    }

    /// The status of [`ME`].
    pub async fn me(&self) -> StatusCode {
        self.get(ME).await.0
    }
}

/// Prints a link by the command.
pub async fn link(world: &World, args: &[&str]) -> String {
    let output = world.run(&[&["console", "link"], args].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

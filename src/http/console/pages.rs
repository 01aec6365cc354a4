//! `/console/…`: one page for every path, which finds out by itself what to show, and the files that it is made of.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, Encoding, Header as _, LOCATION, VARY,
    },
    web,
};

use super::{Console, assets::Assets};
use crate::http::error::Problem;

const PLACE: &str = "/console/";

/// Relative addresses need the slash.
pub async fn slash() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, PLACE)).finish()
}

/// The page. Its files have a hash in their addresses, so it alone is requested each time.
pub async fn index(console: web::Data<Console>) -> Result<HttpResponse, Problem> {
    let assets = Assets::current();
    let page = console.fill(assets.index().ok_or(Problem::NotFound)?, &assets.hash);
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .content_type("text/html; charset=utf-8")
        .body(page))
}

/// A file. A page of another build, as there may be while processes are replaced, gets what this one has and keeps none of it.
pub async fn asset(request: HttpRequest, place: web::Path<String>) -> Result<HttpResponse, Problem> {
    let assets = Assets::current();
    let (hash, name) = place.split_once('/').ok_or(Problem::NotFound)?;
    let asset = assets.get(name).ok_or(Problem::NotFound)?;
    let keep = if hash == assets.hash { "public, max-age=31536000, immutable" } else { "no-store" };
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, keep)).insert_header((CONTENT_TYPE, asset.content_type));
    let gzip = asset.gzip.as_ref().inspect(|_| {
        response.insert_header((VARY, "accept-encoding"));
    });
    Ok(match gzip.filter(|_| accepts_gzip(&request)) {
        Some(gzip) => response.insert_header((CONTENT_ENCODING, "gzip")).body(gzip.clone()),
        None => response.body(asset.plain.clone()),
    })
}

fn accepts_gzip(request: &HttpRequest) -> bool {
    AcceptEncoding::parse(request).is_ok_and(|accepted| {
        accepted.negotiate([Encoding::gzip(), Encoding::identity()].iter()) == Some(Encoding::gzip())
    })
}

impl Console {
    /// The page with what is known when it is served in the place of its placeholders.
    fn fill(&self, page: &str, hash: &str) -> String {
        let values = [
            ("assets", format!("/console/assets/{hash}")),
            ("port", self.port.as_str().to_owned()),
            ("issuer", self.issuer_name().to_owned()),
            ("currency", self.currency.clone()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        values
            .iter()
            .fold(page.to_owned(), |page, (name, value)| page.replace(&format!("{{{{{name}}}}}"), &escaped(value)))
    }
}

/// As the value of an attribute. Braces too, so that no value is taken for a placeholder.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' | '`' | '{' | '}' => escaped.push_str(&format!("&#{};", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::console::ConsolePort;

    #[test]
    fn values_stay_within_their_attributes() {
        let settings = crate::config::Settings::from_variables([].into()).unwrap();
        let console = Console::new(&settings, ConsolePort::Api).unwrap();
        let console = Console { currency: "\"><script>{{version}}".to_owned(), ..console };
        let page = console.fill("<html data-currency=\"{{currency}}\" data-port='{{port}}' a='{{assets}}'>", "h");
        assert_eq!(
            page,
            "<html data-currency=\"&#34;&#62;&#60;script&#62;&#123;&#123;version&#125;&#125;\" data-port='api' \
             a='/console/assets/h'>"
        );
    }
}

//! `/analytics/v1/downloads/{key}`: files of a local store, for clients with a link that the service has signed.

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{
        StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE,
            LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
        },
    },
    web,
};
use futures_util::TryStreamExt;
use utoipa::IntoParams;

use super::{
    Api,
    error::Problem,
    params::{Checked, Params, QueryParams},
    send::send,
};
use crate::{
    actors::serving::export_requests::{Download, OpenDownload, Wanted, content_disposition, file_name},
    domain::export::keys::Key,
};

/// What a signed link has beside its path.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LinkParams {
    /// Until when the link is good, seconds since 1970
    #[param(value_type = String, example = "1772449200")]
    expires: i64,
    /// Of key and expires
    #[param(example = "0f2a")]
    signature: String,
}

impl QueryParams for LinkParams {
    fn read(params: &mut Params) -> Option<Self> {
        let (expires, signature) = (params.single("expires"), params.single("signature"));
        Some(Self { expires: expires?.parse().ok()?, signature: signature? })
    }
}

/// Download a file by a signed link
///
/// The link is all that is needed, and all that counts. Ranges of bytes may be requested, one at a time.
#[utoipa::path(
    get,
    path = "/analytics/v1/downloads/{key}",
    operation_id = "fetchExport",
    tag = "exports",
    params(("key" = String, Path, description = "The file")),
    responses(
        (status = 200, description = "The file", content_type = "text/csv"),
        (status = 206, description = "The bytes that were requested", content_type = "text/csv"),
        (status = 403, description = "The link is not good, or not any more"),
        (status = 416, description = "The file has no such bytes")
    )
)]
pub async fn get(
    request: HttpRequest,
    link: Result<Checked<LinkParams>, Problem>,
    api: web::Data<Api>,
) -> Result<HttpResponse, Problem> {
    // What is wrong with a link is not distinguished.
    let Checked(LinkParams { expires, signature }) = link.map_err(|_| Problem::LinkNotGood)?;
    let key = request.match_info().query("key").to_owned();
    // With a condition it is sent whole, which is always right.
    let header = request.headers().get(RANGE).filter(|_| !request.headers().contains_key(IF_RANGE));
    let range = header.and_then(|range| wanted(range.to_str().ok()?));
    let open = OpenDownload { key, expires, signature, range };
    let Some(download) = send(&api.exports.open, open, api.response_timeout).await? else {
        return Err(Problem::LinkNotGood);
    };
    api.gatekeeper.fetched(&request, Key::parse(&download.key).map(|key| key.org_id), &download.key);
    respond(download, range.is_some())
}

fn respond(download: Download, partial: bool) -> Result<HttpResponse, Problem> {
    let Download { key, length, modified, content } = download;
    let (range, stream) = content.ok_or(Problem::NoSuchRange { length })?;
    let mut response = HttpResponse::build(if partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    let kind = if key.ends_with(".json") { "application/json" } else { "text/csv; charset=utf-8" };
    response
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CONTENT_DISPOSITION, content_disposition(file_name(&key))))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((LAST_MODIFIED, modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string()))
        // Compressed on its way, its length and its ranges would be other ones.
        .insert_header((CONTENT_ENCODING, "identity"));
    if partial {
        let last = range.end.saturating_sub(1);
        response.insert_header((CONTENT_RANGE, format!("bytes {}-{last}/{length}", range.start)));
    }
    let size = range.end - range.start;
    Ok(response.body(SizedStream::new(size, stream.map_err(std::io::Error::other))))
}

/// One range of bytes. None: what we do not know, which may be passed over (RFC 9110, section 14.2).
fn wanted(range: &str) -> Option<Wanted> {
    let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    match (first, last) {
        ("", last) => Some(Wanted::Last(digits(last)?)),
        (first, "") => Some(Wanted::From(digits(first)?, None)),
        (first, last) => {
            let (first, last) = (digits(first)?, digits(last)?);
            (first <= last).then_some(Wanted::From(first, Some(last)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_range_is_read() {
        for (text, expected) in [
            ("bytes=0-99", Some(Wanted::From(0, Some(99)))),
            ("bytes=100-", Some(Wanted::From(100, None))),
            ("bytes=-5", Some(Wanted::Last(5))),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("rows=0-1", None),
            ("bytes=99999999999999999999-", None),
        ] {
            assert_eq!(wanted(text), expected, "{text}");
        }
    }
}

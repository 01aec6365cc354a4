//! Files of a local store, sent to clients with a link that the service has signed.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use actix::prelude::*;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::BoxStream};
use uuid::Uuid;

use super::{Exports, UNREADABLE};
use crate::{
    actors::serving::error::{QueryError, refuse},
    domain::{export::keys::Key, shares::Shares},
    objects::ObjectError,
};

/// Files that this process sends at once, and how many of them of one org: each has a share, so that the slow readers of a
/// few do not take the room of the others.
const DOWNLOADS: usize = 64;
const DOWNLOADS_OF_ORG: usize = 16;

/// What a signed link leads to.
#[derive(Message)]
#[rtype(result = "Result<Option<Download>, QueryError>")]
pub struct OpenDownload {
    pub key: String,
    /// As they stand in the link.
    pub expires: i64,
    pub signature: String,
    /// From, and to, exclusive; none: all.
    pub range: Option<Wanted>,
}

/// Bytes of a file that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// From this one on, to that one where it is given; both are wanted.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

/// A file, piece by piece.
pub type Pieces = BoxStream<'static, Result<bytes::Bytes, ObjectError>>;

/// A file on its way.
pub struct Download {
    pub key: String,
    /// Length of the whole file.
    pub length: u64,
    pub modified: DateTime<Utc>,
    /// None where what is wanted is not there.
    pub content: Option<(Range<u64>, Pieces)>,
}

impl Wanted {
    /// Which bytes of so many that is; none where there is none of them.
    pub fn of(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => first..last.map_or(length, |last| last.saturating_add(1).min(length)),
            Self::Last(most) => length.saturating_sub(most)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

impl Handler<OpenDownload> for Exports {
    type Result = ResponseFuture<Result<Option<Download>, QueryError>>;

    fn handle(&mut self, open: OpenDownload, _: &mut Self::Context) -> Self::Result {
        let (backend, downloads, working) = (self.backend.clone(), self.downloads.clone(), self.vitals.work());
        Box::pin(async move {
            let _working = working;
            let OpenDownload { key, expires, signature, range } = open;
            // A link is judged by this machine's clock, which signed it.
            let Some(backend) = backend else { return Ok(None) };
            if backend.objects.verify_link(&key, expires, &signature, Utc::now()).is_err() {
                return Ok(None);
            }
            let Some(key_of) = Key::parse(&key) else { return Ok(None) };
            let place = downloads.begin(key_of.org_id).ok_or(QueryError::Busy)?;
            let Some(info) = backend.objects.head(None, &key).await.map_err(|error| refuse(&error, UNREADABLE))? else {
                return Ok(None);
            };
            let range = match range {
                None => Some(0..info.bytes),
                Some(wanted) => wanted.of(info.bytes),
            };
            let content = match range {
                None => None,
                Some(range) if range.is_empty() => Some((range, futures_util::stream::empty().boxed())),
                Some(range) => {
                    let content = backend.objects.get_range(None, &key, range).await;
                    let content = content.map_err(|error| refuse(&error, UNREADABLE))?;
                    Some((content.range, holding(place, content.stream)))
                }
            };
            Ok(Some(Download { key, length: info.bytes, modified: info.modified, content }))
        })
    }
}

/// Files that are being sent, by org.
#[derive(Clone)]
pub(super) struct Downloads(Arc<Mutex<Shares<Uuid>>>);

impl Default for Downloads {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Shares::new(DOWNLOADS))))
    }
}

impl Downloads {
    /// None: there is no room.
    fn begin(&self, org_id: Uuid) -> Option<Sending> {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sent.held(&org_id) >= DOWNLOADS_OF_ORG || !sent.take(org_id) {
            return None;
        }
        Some(Sending { downloads: self.clone(), org_id })
    }
}

/// A file is being sent, until this is dropped.
struct Sending {
    downloads: Downloads,
    org_id: Uuid,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut sent = self.downloads.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.give_back(&self.org_id);
    }
}

/// The stream, with its place until its end.
fn holding<T: 'static>(place: Sending, stream: BoxStream<'static, T>) -> BoxStream<'static, T> {
    stream
        .map(move |item| {
            let _held = &place;
            item
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_org_takes_and_returns_its_share() {
        let (downloads, one, other) = (Downloads::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        let sent: Vec<_> = std::iter::from_fn(|| downloads.begin(one)).collect();
        assert_eq!(sent.len(), DOWNLOADS_OF_ORG);
        let theirs = downloads.begin(other);
        assert!(theirs.is_some());
        drop((sent, theirs));
        assert!(downloads.begin(one).is_some());
        let all: Vec<_> = (0..1000).filter_map(|n| downloads.begin(Uuid::from_u128(n))).collect();
        assert_eq!(all.len(), DOWNLOADS);
    }

    #[test]
    fn slow_downloads_leave_room_for_other_orgs() {
        let downloads = Downloads::default();
        let org = |n| Uuid::from_u128(n);
        let slow: Vec<_> =
            (1..=4).flat_map(|n| (0..100).map(move |_| n)).filter_map(|n| downloads.begin(org(n))).collect();
        assert!(slow.len() < DOWNLOADS, "{}", slow.len());
        assert!(downloads.begin(org(5)).is_some());
    }

    #[test]
    fn byte_ranges_are_clipped_to_the_file() {
        for (wanted, length, expected) in [
            (Wanted::From(0, Some(0)), 10, Some(0..1)),
            (Wanted::From(4, None), 10, Some(4..10)),
            (Wanted::From(4, Some(u64::MAX)), 10, Some(4..10)),
            (Wanted::From(5, Some(4)), 10, None),
            (Wanted::From(10, None), 10, None),
            (Wanted::Last(3), 10, Some(7..10)),
            (Wanted::Last(30), 10, Some(0..10)),
            (Wanted::Last(0), 10, None),
            (Wanted::From(0, None), 0, None),
        ] {
            assert_eq!(wanted.of(length), expected, "{wanted:?} of {length}");
        }
    }
}

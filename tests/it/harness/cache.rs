//! Redis' databases, one a world: orgs of equal seeds have the same keys in all of them.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::Duration,
};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};

use super::world::CONNECT;

/// What a Redis has unless its settings say otherwise, 0 to 15. The first is left to people.
const NUMBERS: std::ops::Range<u8> = 1..16;

/// A database that nobody else has, in this process or in another, until it is dropped.
pub struct CacheDatabase {
    pub url: String,
    _lock: File,
}

impl CacheDatabase {
    /// Waits until one is free, and empties it. What holds it is a lock on a file: it ends with the process, however
    /// that ends.
    pub async fn take(server: &str, folder: &Path) -> Self {
        let (server, _) = server.rsplit_once('/').unwrap();
        let folder = folder.join("redis-databases");
        std::fs::create_dir_all(&folder).unwrap();
        let (number, lock) = loop {
            if let Some(free) = NUMBERS.into_iter().find_map(|number| Some((number, lock(&folder, number)?))) {
                break free;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let url = format!("{server}/{number}");
        let mut redis = connect(&url).await;
        redis::cmd("FLUSHDB").query_async::<()>(&mut redis).await.unwrap();
        Self { url, _lock: lock }
    }
}

/// A test's own connection. It waits as long as other connections of tests: the crate's half a second is too short on a busy machine.
pub async fn connect(url: &str) -> MultiplexedConnection {
    let patient =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(CONNECT));
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
}

fn lock(folder: &Path, number: u8) -> Option<File> {
    let file = File::create(folder.join(number.to_string())).unwrap();
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => panic!("{}: {error}", folder.display()),
    }
}

#[tokio::test]
async fn redis_databases_are_empty_and_not_shared() {
    let _turn = super::stack::beside_others().await;
    let variables = super::world::stack_variables();
    let take = async || CacheDatabase::take(&variables["ANALYTICS__CACHE__URL"], &super::world::local_folder()).await;
    let keys = async |database: &CacheDatabase, write: bool| -> u64 {
        let mut redis = connect(&database.url).await;
        if write {
            redis::cmd("SET").arg("analytics:freshness:of-equal-seeds").arg(1).exec_async(&mut redis).await.unwrap();
        }
        redis::cmd("DBSIZE").query_async(&mut redis).await.unwrap()
    };
    let (one, other) = (take().await, take().await);
    assert_eq!((keys(&one, true).await, keys(&other, false).await), (1, 0));
    drop(one);
    let next = take().await;
    assert_eq!(keys(&next, false).await, 0, "what the test before wrote is gone");
    assert_ne!(next.url, other.url);
}

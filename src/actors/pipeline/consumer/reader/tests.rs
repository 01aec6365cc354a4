//! Credits, and an order to drain while they are waited for.

use std::{cell::RefCell, rc::Rc};

use proptest::prelude::*;

use super::*;
use crate::{
    actors::supervision::liveness::Liveness, config::Settings, domain::batch::Message as StreamMessage,
    telemetry::metrics::Metrics,
};

/// Takes the place of what comes after the consumer: holds what it is given.
struct Held(Rc<RefCell<Vec<Split>>>);

impl Actor for Held {
    type Context = Context<Self>;
}

impl Handler<Split> for Held {
    type Result = ();
    fn handle(&mut self, split: Split, _: &mut Self::Context) {
        self.0.borrow_mut().push(split);
    }
}

fn reader(credits: usize, dedupe: Recipient<Split>) -> (Reader, mpsc::UnboundedSender<Order>) {
    let settings = Settings::from_variables([].into()).unwrap();
    let (orders, inbox) = mpsc::unbounded_channel();
    let parts = ReaderParts {
        streams: Streams::new(&settings.broker),
        limits: config::Batch { credits, ..settings.batch },
        partition: 0,
        progress: PartitionPosition::default(),
        readiness: Readiness::default(),
        metrics: Metrics::default(),
        log: SupervisionLog::new("tests", Metrics::default()),
        working: Arc::new(Liveness::default().work()),
        dedupe,
        inbox,
    };
    (Reader::new(parts, 0, None), orders)
}

#[actix::test]
async fn draining_begins_while_commits_are_pending() {
    let held = Rc::new(RefCell::new(Vec::new()));
    let (mut reader, orders) = reader(3, Held(Rc::clone(&held)).start().recipient());
    let message = StreamMessage::new(0, None, vec![1]);
    reader.take(Incoming { tag: 1, begins: message.offset, message, producer: None });
    let credit = Arc::clone(&reader.credits).try_acquire_owned().unwrap();
    reader.hand_on(credit);
    orders.send(Order::Drain).unwrap();
    let committed = reader.all_committed();
    let committing = async {
        // Later than the order is read.
        tokio::time::sleep(Duration::from_millis(20)).await;
        held.borrow_mut().clear();
    };
    let drained = tokio::time::timeout(Duration::from_secs(5), reader.unless_drained(committed));
    let (drained, ()) = tokio::join!(drained, committing);
    assert_eq!(drained.unwrap(), Err(Ended::Drained));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However batches end, committed or lost: never more are in flight than there are credits, none is held up
    /// while there is one, and all come back.
    #[test]
    fn no_more_batches_are_in_flight_than_credits(
        credits in 1usize..6, steps in prop::collection::vec(any::<(bool, prop::sample::Index)>(), 1..80),
    ) {
        actix::System::new().block_on(async {
            let held = Rc::new(RefCell::new(Vec::new()));
            let dedupe = Held(Rc::clone(&held)).start();
            let (mut reader, _orders) = reader(credits, dedupe.clone().recipient());
            let mut offset = 0;
            for (arrives, which) in steps {
                if arrives {
                    let message = StreamMessage::new(offset, None, vec![1]);
                    reader.take(Incoming { tag: 1, begins: message.offset, message, producer: None });
                    offset += 1;
                    let credit = Arc::clone(&reader.credits).try_acquire_owned();
                    assert_eq!(credit.is_ok(), held.borrow().len() < credits);
                    if let Ok(credit) = credit {
                        reader.hand_on(credit);
                    }
                    // One round trip: what was sent before has arrived.
                    while reader.credits.available_permits() + held.borrow().len() < credits {
                        tokio::task::yield_now().await;
                    }
                } else if !held.borrow().is_empty() {
                    let index = which.index(held.borrow().len());
                    held.borrow_mut().remove(index);
                }
                assert!(held.borrow().len() <= credits);
            }
            held.borrow_mut().clear();
            reader.all_committed().await;
            assert_eq!(reader.credits.available_permits(), credits);
        });
    }
}

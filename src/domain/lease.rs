//! Who works on which partitions: fair shares among the processes that live.
//!
//! Every process looks at the same rows and decides for itself. Two that decide differently for a moment do no harm:
//! taking a partition is conditional on what was seen, and a commit on the epoch.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use uuid::Uuid;

/// A process as the database shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub id: Uuid,
    /// In the order of enrolment.
    pub number: i32,
    /// Its session holds its advisory lock.
    pub locked: bool,
    /// It has not renewed its row in time.
    pub expired: bool,
}

/// A partition as the database shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    pub partition: u16,
    pub owner: Option<Uuid>,
    pub epoch: i64,
    pub incarnation: i32,
}

/// What a process does about its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Free, or of a process that is dead: to be taken, if they still are as they were seen.
    pub take: Vec<Holding>,
    /// Ours: to be worked on.
    pub work: Vec<u16>,
    /// Ours, and more than our share: to be finished and given back.
    pub give_back: Vec<u16>,
    /// Worked on and not ours any more: to be dropped at once.
    pub drop: Vec<u16>,
    /// Owners that are dead: what they left in the database, such as locks of a frozen one, is to be ended.
    pub dead: BTreeSet<Uuid>,
}

/// How many of `partitions` the process of rank `rank` among `processes` works on: shares differ by one at most.
pub fn share(partitions: usize, processes: usize, rank: usize) -> usize {
    let processes = processes.max(1);
    partitions / processes + usize::from(rank < partitions % processes)
}

/// Distinguishes dead and living processes. A lock that is missing or a row that has expired mean little for a moment: after the
/// database was away all rows have expired, and all processes are connecting again.
#[derive(Debug, Default)]
pub struct Watch {
    /// Since when each process has been seen so.
    failing: BTreeMap<Uuid, Duration>,
}

impl Watch {
    /// The processes that live, in the order of enrolment. `now` is any clock that only goes on.
    pub fn living(&mut self, me: Uuid, processes: &[Process], now: Duration, grace: Duration) -> Vec<Uuid> {
        let fails = |process: &&Process| process.expired || !process.locked;
        self.failing.retain(|id, _| processes.iter().filter(fails).any(|process| process.id == *id));
        let mut living: Vec<&Process> = processes
            .iter()
            .filter(|process| {
                let dead = fails(process) && now - *self.failing.entry(process.id).or_insert(now) >= grace;
                process.id == me || !dead
            })
            .collect();
        living.sort_unstable_by_key(|process| process.number);
        living.iter().map(|process| process.id).collect()
    }
}

/// Decides. `working` are the partitions that this process has pipelines for; `leaving`: it is about to end.
pub fn plan(me: Uuid, living: &[Uuid], holdings: &[Holding], working: &BTreeSet<u16>, leaving: bool) -> Plan {
    let ours = |holding: &&Holding| holding.owner == Some(me);
    let mine: Vec<u16> = holdings.iter().filter(ours).map(|holding| holding.partition).collect();
    let rank = living.iter().position(|id| *id == me).unwrap_or(living.len());
    let share = if leaving { 0 } else { share(holdings.len(), living.len(), rank) };
    let (keep, surplus) = mine.split_at(mine.len().min(share));
    let is_dead = |owner: &Uuid| *owner != me && !living.contains(owner);
    let free = |holding: &&Holding| holding.owner.as_ref().is_none_or(is_dead);
    let take: Vec<Holding> = holdings.iter().filter(free).take(share - keep.len()).copied().collect();
    Plan {
        dead: take.iter().filter_map(|holding| holding.owner).collect(),
        take,
        work: keep.iter().filter(|partition| !working.contains(partition)).copied().collect(),
        give_back: surplus.to_vec(),
        drop: working.iter().filter(|partition| !mine.contains(partition)).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: usize) -> Uuid {
        Uuid::from_u128(n as u128 + 1)
    }

    #[test]
    fn a_missing_lock_or_row_becomes_death() {
        let grace = Duration::from_secs(1);
        let process =
            |n: usize, locked, expired| Process { id: id(n), number: i32::try_from(n).unwrap(), locked, expired };
        let mut watch = Watch::default();
        let seen = [process(0, true, true), process(1, false, false), process(2, true, true)];
        assert_eq!(watch.living(id(0), &seen, Duration::ZERO, grace), [id(0), id(1), id(2)]);
        assert_eq!(watch.living(id(0), &seen, Duration::from_millis(900), grace), [id(0), id(1), id(2)]);
        assert_eq!(watch.living(id(0), &seen, Duration::from_secs(1), grace), [id(0)]);
        let back = [process(0, true, false), process(1, true, false)];
        assert_eq!(watch.living(id(0), &back, Duration::from_secs(2), grace), [id(0), id(1)]);
        let gone = [process(0, true, false), process(1, false, false)];
        assert_eq!(watch.living(id(0), &gone, Duration::from_secs(3), grace), [id(0), id(1)], "counts again");
    }

    #[test]
    fn partitions_follow_their_holder() {
        let holding = |partition, owner| Holding { partition, owner, epoch: 1, incarnation: 1 };
        let holdings = [holding(0, Some(id(0))), holding(1, Some(id(1)))];
        let plan = plan(id(0), &[id(0), id(1)], &holdings, &BTreeSet::from([1]), false);
        assert_eq!(plan, Plan { work: vec![0], drop: vec![1], ..Plan::default() });
    }

    proptest! {
        #[test]
        fn shares_are_fair_and_cover_everything(partitions in 0usize..300, processes in 1usize..40) {
            let shares: Vec<usize> = (0..processes).map(|rank| share(partitions, processes, rank)).collect();
            prop_assert_eq!(shares.iter().sum::<usize>(), partitions);
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }

        /// Processes that come and go: after a few rounds each partition has one owner that lives, in fair shares.
        #[test]
        fn every_partition_finds_one_owner(
            partitions in 1u16..20,
            lives in prop::collection::vec(prop::collection::vec(any::<bool>(), 5), 1..8),
        ) {
            let mut holdings: Vec<Holding> =
                (0..partitions).map(|partition| Holding { partition, owner: None, epoch: 0, incarnation: 1 }).collect();
            for alive in lives {
                let living: Vec<Uuid> = (0..5).filter(|n| alive[*n]).map(id).collect();
                if living.is_empty() {
                    continue;
                }
                for _ in 0..3 {
                    for me in &living {
                        let working = holdings.iter().filter(|h| h.owner == Some(*me)).map(|h| h.partition).collect();
                        let plan = plan(*me, &living, &holdings, &working, false);
                        prop_assert!(plan.drop.is_empty() && plan.work.is_empty());
                        for partition in plan.give_back {
                            holdings[usize::from(partition)].owner = None;
                        }
                        for taken in plan.take {
                            holdings[usize::from(taken.partition)].owner = Some(*me);
                        }
                    }
                }
                for (rank, me) in living.iter().enumerate() {
                    let mine = holdings.iter().filter(|h| h.owner == Some(*me)).count();
                    prop_assert_eq!(mine, share(usize::from(partitions), living.len(), rank));
                }
            }
        }
    }
}

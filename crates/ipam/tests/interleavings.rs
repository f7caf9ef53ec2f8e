//! All interleavings of up to three processes on tiny blocks, with a kill at any step
//! (three on one handle: up to three preemptions); and many random
//! ones with conflicts and failures injected.

mod world;

use model::{Failure, Request, Response};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use world::{Process, Task, World, check, now, pool, release, seen, wish};

/// One choice of the scheduler: step a process, or kill it.
type Choice = (usize, bool);

fn replay(start: &World, tasks: &[Task], path: &[Choice]) -> (World, Vec<Process>) {
    let mut world = start.clone();
    let mut processes: Vec<_> = tasks.iter().map(|t| Process::new(t.clone())).collect();
    for (index, kill) in path {
        if *kill {
            processes[*index].kill();
        } else {
            let process = &mut processes[*index];
            let answer = process.next.take().map(|request| world.carry_out(request));
            process.answer(answer);
        }
    }
    (world, processes)
}

/// Visits every reachable state once; the number of states and of ends.
fn explore(start: &World, tasks: &[Task], kills_max: usize) -> (usize, usize) {
    explore_within(start, tasks, kills_max, usize::MAX)
}

/// The same with a bound on preemptions (leaving a process that could have gone on), for more
/// processes than can be explored in full.
fn explore_within(
    start: &World,
    tasks: &[Task],
    kills_max: usize,
    preemptions_max: usize,
) -> (usize, usize) {
    let (mut seen, mut ends) = (HashSet::new(), 0);
    let mut paths: Vec<(Vec<Choice>, usize)> = vec![(Vec::new(), 0)];
    while let Some((path, used)) = paths.pop() {
        let (world, processes) = replay(start, tasks, &path);
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        for process in &processes {
            process.history.hash(&mut hasher);
        }
        let last = path.last().map(|(index, _)| *index);
        if preemptions_max < usize::MAX {
            (used, last).hash(&mut hasher);
        }
        if !seen.insert(hasher.finish()) {
            continue;
        }
        check(&world, &processes);
        let kills = path.iter().filter(|(_, kill)| *kill).count();
        let mut ended = true;
        for (index, process) in processes.iter().enumerate() {
            if process.next.is_some() {
                ended = false;
                let left = last.is_some_and(|l| l != index && processes[l].next.is_some());
                let used = used + usize::from(left);
                if used > preemptions_max {
                    continue;
                }
                paths.push(([path.as_slice(), &[(index, false)]].concat(), used));
                if kills < kills_max {
                    paths.push(([path.as_slice(), &[(index, true)]].concat(), used));
                }
            }
        }
        if ended {
            ends += 1;
            world.check_recovery();
        }
    }
    (seen.len(), ends)
}

fn assign(host: &str, handle: &str, cidr: &str, size: u8) -> Task {
    Task::Assign(wish(host, handle, pool(cidr, size)))
}

#[test]
fn two_hosts_claim_the_same_single_block() {
    let tasks = [assign("a", "h1", "10.0.0.0/31", 31), assign("b", "h2", "10.0.0.0/31", 31)];
    let (states, ends) = explore(&World::default(), &tasks, 1);
    assert!(states > 100 && ends > 10, "{states} states, {ends} ends");
}

#[test]
fn two_processes_of_one_host_want_the_last_address() {
    let tasks = [assign("a", "h1", "10.0.0.0/32", 32), assign("a", "h2", "10.0.0.0/32", 32)];
    let (states, ends) = explore(&World::default(), &tasks, 1);
    assert!(states > 100 && ends > 10, "{states} states, {ends} ends");
}

#[test]
fn an_assignment_a_second_one_and_a_release_of_one_handle() {
    let mut start = World::default();
    start.run(wish("a", "other", pool("fd00::/127", 127)).start()).unwrap();
    let mut known = wish("a", "h", pool("fd00::/127", 127));
    let key = model::Key::Block("fd00::/127".parse().unwrap());
    if let Response::Entry(Some(entry)) = start.carry_out(Request::Get(key)) {
        known.known_affine_blocks.push(entry);
    }
    let tasks = [Task::Assign(known.clone()), Task::Release("h".to_owned()), Task::Assign(known)];
    let (states, ends) = explore(&start, &tasks[..2], 1);
    assert!(states > 50 && ends > 5, "{states} states, {ends} ends");
    let (states, ends) = explore_within(&start, &tasks, 0, 3);
    assert!(states > 100 && ends > 10, "{states} states, {ends} ends");
}

#[test]
fn an_empty_block_is_reclaimed_while_its_owner_assigns() {
    let mut start = World::default();
    let mut early = wish("a", "h0", pool("10.0.0.0/31", 31));
    early.now = "2025-12-31T00:00:00Z".parse().unwrap();
    start.run(early.start()).unwrap();
    start.run(release("h0")).unwrap();
    let tasks = [assign("a", "h1", "10.0.0.0/31", 31), assign("b", "h2", "10.0.0.0/31", 31)];
    let (states, ends) = explore(&start, &tasks, 1);
    assert!(states > 100 && ends > 10, "{states} states, {ends} ends");
}

#[test]
fn a_host_is_removed_while_another_borrows_and_an_address_is_asked_for() {
    let mut start = World::default();
    start.run(wish("a", "h0", pool("10.0.0.0/31", 31)).start()).unwrap();
    let exact = ipam::AssignAddress {
        address: "10.0.0.1".parse().unwrap(),
        host: "c".to_owned(),
        handle: "h2".to_owned(),
        attributes: Default::default(),
        pools: vec![pool("10.0.0.0/31", 31)],
        config: Default::default(),
        now: now(),
    };
    start.removed.insert("a".to_owned());
    let tasks = [
        Task::ReleaseHost("a".to_owned()),
        assign("b", "h1", "10.0.0.0/31", 31),
        Task::Exact(exact),
    ];
    let (states, ends) = explore(&start, &tasks, 0);
    assert!(states > 100 && ends > 10, "{states} states, {ends} ends");
}

/// What a process is given after it was looked is its own, whatever is released of what was seen.
#[test]
fn what_was_seen_is_released_while_its_handle_gets_more() {
    let mut start = World::default();
    start.run(wish("a", "h", pool("10.0.0.0/31", 31)).start()).unwrap();
    let tasks = [Task::ReleaseSeen(seen(&start, "h")), assign("a", "h", "10.0.0.0/31", 31)];
    let (states, ends) = explore_within(&start, &tasks, 1, 2);
    assert!(states > 50 && ends > 5, "{states} states, {ends} ends");
    // It has been released and given again meanwhile.
    start.run(release("h")).unwrap();
    let (states, ends) = explore_within(&start, &tasks, 1, 2);
    assert!(states > 50 && ends > 5, "{states} states, {ends} ends");
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Carries out a request, or fails: as a conflict, before the write, or after it.
fn unreliable(world: &mut World, random: &mut Random, request: Request) -> Response {
    let write = !matches!(request, Request::Get(_) | Request::List(_));
    let lost = || Response::Failed(Failure::Unavailable("injected".to_owned()));
    match random.below(40) {
        0 if write => Response::Failed(Failure::Conflict),
        1 => lost(),
        2 => {
            world.carry_out(request);
            lost()
        }
        _ => world.carry_out(request),
    }
}

#[test]
fn random_runs() {
    let mut assigned = 0;
    for seed in 1..=300u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (cidr, size) = [("10.0.0.0/28", 30), ("fd00::/124", 127)][random.below(2)];
        let mut world = World::default();
        world.removed.insert("n3".to_owned());
        let mut processes = Vec::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for handle in 0..14 {
                let host = format!("n{}", random.below(4));
                let mut wish = wish(&host, &format!("h{handle}"), pool(cidr, size));
                wish.count = 1 + random.below(2);
                processes.push(Process::new(Task::Assign(wish)));
            }
            for handle in 0..4 {
                processes.push(Process::new(Task::Release(format!("h{handle}"))));
            }
            processes.push(Process::new(Task::ReleaseHost("n3".to_owned())));
            loop {
                let live = |p: &Process| p.next.is_some();
                let live: Vec<usize> =
                    (0..processes.len()).filter(|i| live(&processes[*i])).collect();
                if live.is_empty() {
                    break;
                }
                let index = live[random.below(live.len())];
                if random.below(150) == 0 {
                    processes[index].kill();
                } else {
                    let process = &mut processes[index];
                    let request = process.next.take().unwrap();
                    process.answer(Some(unreliable(&mut world, &mut random, request)));
                }
                check(&world, &processes);
            }
        }));
        assert!(result.is_ok(), "seed {seed}");
        assigned += processes.iter().map(|process| process.given.len()).sum::<usize>();
        world.check_recovery();
    }
    assert!(assigned > 1000, "{assigned} addresses in all runs: the runs test too little");
}

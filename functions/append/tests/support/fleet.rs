//! Messages -> processes, until every message is done.
//!
//! In: messages for each of several processes, and a [`Plan`] of what befalls them. What a process hands back, fails at
//! or takes to its grave is delivered again, to any of them; a process that ends is followed by another. Out: what
//! happened. Every acknowledgement is held against the table and the quarantine when it comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;

use super::function::function;
use super::runtime::{Answer, Heard, Instance};
use super::{Input, PATIENCE, Place};

/// A message of the queue, by the numbers of the objects that it announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) objects: Vec<usize>,
}

/// Messages of one object each, but of two every now and then.
pub(crate) fn messages(objects: impl IntoIterator<Item = usize>, rng: &mut Rng) -> Vec<Message> {
    let mut objects = objects.into_iter();
    let mut messages = Vec::new();
    while let Some(object) = objects.next() {
        let other = if rng.u8(..5) == 0 { objects.next() } else { None };
        let objects = std::iter::once(object).chain(other).collect();
        messages.push(Message { id: format!("message-{object}-{:08x}", rng.u32(..)), objects });
    }
    messages
}

/// The event that announces `inputs` by `messages`.
pub(crate) fn sqs_event(messages: &[Message], inputs: &[Input]) -> String {
    let messages = messages.iter().map(|message| {
        let records = message.objects.iter().map(|at| inputs[*at].s3_record());
        let body = json!({"Records": records.collect::<Vec<_>>()});
        json!({"messageId": message.id, "body": body.to_string(), "eventSource": "aws:sqs"})
    });
    json!({"Records": messages.collect::<Vec<_>>()}).to_string()
}

/// What befalls the processes.
pub(crate) struct Plan<'a> {
    /// Messages of one event.
    pub(crate) batch: RangeInclusive<usize>,
    /// Time for an event, until the deadline.
    pub(crate) time: Duration,
    /// How long after the deadline an answer may come. In real life, never.
    pub(crate) grace: Duration,
    /// `FAILPOINTS` of the next process.
    pub(crate) failpoints: Box<dyn FnMut(&mut Rng) -> String + 'a>,
    /// What befalls a process that starts, and one that is given an event.
    pub(crate) fate: Box<dyn FnMut(&mut Rng) -> Fate + 'a>,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            batch: 1..=10,
            time: PATIENCE,
            grace: Duration::ZERO,
            failpoints: Box::new(|_| String::new()),
            fate: Box::new(|_| Fate::Live),
        }
    }
}

/// What befalls a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Nothing.
    Live,
    /// It is killed after this time, wherever it is then: at this event, at the next, or between them.
    Kill(Duration),
    /// It stands still from then, for so long.
    Freeze(Duration, Duration),
}

/// Several processes and their messages.
pub(crate) struct Fleet<'a> {
    place: &'a Place,
    inputs: &'a [Input],
    plan: Plan<'a>,
    rng: Rng,
    workers: Vec<Worker>,
    sender: Sender<(usize, usize, Heard)>,
    heard: Receiver<(usize, usize, Heard)>,
    /// Snapshots that an acknowledgement relied on.
    relied_on: BTreeSet<i64>,
    pub(crate) tally: Tally,
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) processes: usize,
    pub(crate) events: usize,
    /// Messages that were handed back.
    pub(crate) handed_back: usize,
    /// Answers that were invocation errors, and how often.
    pub(crate) errors: BTreeMap<String, usize>,
    pub(crate) kills: usize,
    pub(crate) freezes: usize,
    /// Places at which a process waited to be killed.
    pub(crate) reached: Vec<String>,
    /// How much of its time the slowest answer took.
    pub(crate) slowest: Duration,
}

#[derive(Default)]
struct Worker {
    instance: Option<Instance>,
    /// Which process it is: what an earlier one said comes too late.
    number: usize,
    asked: Option<TcpStream>,
    queue: VecDeque<Message>,
    at_work: Option<AtWork>,
    next: Option<(Instant, Turn)>,
}

/// An event that a process has not answered yet.
struct AtWork {
    messages: Vec<Message>,
    given: Instant,
    /// After this an answer is too late.
    until: Instant,
}

#[derive(Clone, Copy)]
enum Turn {
    Kill,
    Stop(Duration),
    Continue,
}

impl<'a> Fleet<'a> {
    /// One process for each of `queues`.
    pub(crate) fn new(
        place: &'a Place,
        inputs: &'a [Input],
        queues: Vec<Vec<Message>>,
        plan: Plan<'a>,
        rng: &mut Rng,
    ) -> Self {
        let (sender, heard) = mpsc::channel();
        let workers =
            queues.into_iter().map(|queue| Worker { queue: queue.into(), ..Worker::default() }).collect();
        let (relied_on, tally) = (BTreeSet::new(), Tally::default());
        Self { place, inputs, plan, rng: rng.fork(), workers, sender, heard, relied_on, tally }
    }

    /// Delivers all messages until they are done, and then stops the processes and compares the table.
    pub(crate) fn drain(&mut self) {
        let give_up = Instant::now() + 5 * PATIENCE;
        loop {
            for at in 0..self.workers.len() {
                if self.workers[at].instance.is_none() {
                    self.start(at);
                }
                self.give(at);
            }
            if self.workers.iter().all(|worker| worker.queue.is_empty() && worker.at_work.is_none()) {
                break;
            }
            let now = Instant::now();
            assert!(now < give_up, "the messages are not done after {:?}: {:#?}", 5 * PATIENCE, self.tally);
            let next = self.workers.iter().flat_map(|worker| {
                let turn = worker.next.map(|(when, _)| when);
                let patience = worker.at_work.as_ref().map(|at_work| at_work.until);
                [turn, patience.filter(|_| !worker.stands_still())]
            });
            let next = next.flatten().min().unwrap_or(now + PATIENCE);
            match self.heard.recv_timeout(next.saturating_duration_since(now)) {
                Ok((at, number, heard)) if self.workers[at].number == number => self.hear(at, heard),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => self.time_passes(),
                Err(RecvTimeoutError::Disconnected) => unreachable!("a sender is kept"),
            }
        }
        self.compare();
    }

    /// Stops the processes and compares the table with the objects.
    pub(crate) fn compare(&mut self) {
        self.workers.iter_mut().for_each(|worker| worker.instance = None);
        let findings = self.place.findings(self.inputs);
        assert!(findings.is_empty(), "{}\n{:#?}", findings.join("\n"), self.tally);
        let table = self.place.table().unwrap();
        let lost: Vec<_> = self.relied_on.iter().filter(|snapshot| !table.has(**snapshot)).collect();
        assert!(lost.is_empty(), "an acknowledgement relied on the snapshots {lost:?}, which are gone");
    }

    /// What happened, in a line.
    pub(crate) fn summary(&self) -> String {
        let Tally { processes, events, handed_back, errors, kills, freezes, slowest, .. } = &self.tally;
        let attempts = self.place.logged("commit attempt failed");
        let (errors, commits) = (errors.values().sum::<usize>(), self.place.table().unwrap().commits());
        format!(
            "{processes} processes, {kills} killed, {freezes} held up; {events} events, {errors} errors, \
             {handed_back} messages handed back, slowest answer {slowest:?}; {commits} commits, {attempts} failed attempts"
        )
    }

    fn start(&mut self, at: usize) {
        self.tally.processes += 1;
        let number = self.tally.processes;
        let mut function = function(self.place.path());
        function.env("FAILPOINTS", (self.plan.failpoints)(&mut self.rng));
        let sender = self.sender.clone();
        let worker = &mut self.workers[at];
        worker.number = number;
        worker.instance = Some(Instance::start(function, move |heard| {
            // Nobody listens any more when the test is over.
            let _ = sender.send((at, number, heard));
        }));
        worker.befalls((self.plan.fate)(&mut self.rng));
    }

    /// Gives process `at` an event, if it waits for one and there is one.
    fn give(&mut self, at: usize) {
        let worker = &mut self.workers[at];
        if worker.queue.is_empty() {
            return;
        }
        let Some(asked) = worker.asked.take() else { return };
        let count = self.rng.usize(self.plan.batch.clone()).min(worker.queue.len());
        let messages: Vec<Message> = worker.queue.drain(..count).collect();
        let event = sqs_event(&messages, self.inputs);
        let given = Instant::now();
        Instance::invoke(asked, &event, self.plan.time);
        self.tally.events += 1;
        worker.at_work = Some(AtWork { messages, given, until: given + self.plan.time + self.plan.grace });
        worker.befalls((self.plan.fate)(&mut self.rng));
    }

    fn hear(&mut self, at: usize, heard: Heard) {
        match heard {
            Heard::Ready(stream) => self.workers[at].asked = Some(stream),
            Heard::Answer(answer) => self.answered(at, answer),
            Heard::Said(line) => match line.strip_prefix("reached ") {
                Some(place) => {
                    self.tally.reached.push(place.to_owned());
                    self.kill(at);
                }
                None => panic!("the function says: {line}"),
            },
            Heard::Ended => panic!("the function has ended by itself: see {}", self.place.path().display()),
        }
    }

    fn answered(&mut self, at: usize, answer: Answer) {
        let worker = &mut self.workers[at];
        let AtWork { messages, given, until } = worker.at_work.take().expect("an answer to an event");
        let was_still = worker.stands_still();
        if matches!(worker.next, Some((_, Turn::Stop(_)))) {
            worker.next = None;
        }
        let took = answer.at - given;
        self.tally.slowest = self.tally.slowest.max(took);
        assert!(was_still || answer.at <= until, "an answer came after {took:?}");
        if answer.is_error {
            let message = answer.body["errorMessage"].as_str().unwrap().to_owned();
            *self.tally.errors.entry(message).or_default() += 1;
            self.deliver_again(messages);
            return;
        }
        let failed: Vec<&str> = answer.body["batchItemFailures"]
            .as_array()
            .expect("an SQS event is answered as such")
            .iter()
            .map(|failure| failure["itemIdentifier"].as_str().unwrap())
            .collect();
        let (again, done): (Vec<Message>, Vec<Message>) =
            messages.into_iter().partition(|message| failed.contains(&&message.id[..]));
        assert_eq!(again.len(), failed.len(), "only messages of the event are handed back: {failed:?}");
        self.tally.handed_back += again.len();
        self.deliver_again(again);
        self.acknowledged(&done);
    }

    /// What is acknowledged must be on disk at that moment.
    fn acknowledged(&mut self, messages: &[Message]) {
        let inputs = self.inputs;
        let objects: Vec<&Input> =
            messages.iter().flat_map(|message| &message.objects).map(|object| &inputs[*object]).collect();
        if objects.is_empty() {
            return;
        }
        let mut findings = Vec::new();
        match self.place.table() {
            Some(table) => self.relied_on.extend(table.snapshots_of(&objects, &mut findings)),
            None => findings.push("there is no table".to_owned()),
        }
        let quarantined = self.place.quarantined(&mut findings);
        self.place.compare_rejections(&objects, &quarantined, &mut findings);
        assert!(findings.is_empty(), "acknowledged, but {}", findings.join("\n"));
    }

    fn deliver_again(&mut self, messages: Vec<Message>) {
        for message in messages {
            let to = self.rng.usize(..self.workers.len());
            let queue = &mut self.workers[to].queue;
            let place = self.rng.usize(..=queue.len());
            queue.insert(place, message);
        }
    }

    /// Kills process `at`; another takes its place.
    fn kill(&mut self, at: usize) {
        self.tally.kills += 1;
        let worker = &mut self.workers[at];
        worker.instance = None;
        worker.number = 0;
        worker.asked = None;
        worker.next = None;
        let messages = worker.at_work.take().map(|at_work| at_work.messages);
        self.deliver_again(messages.unwrap_or_default());
    }

    fn time_passes(&mut self) {
        let now = Instant::now();
        for at in 0..self.workers.len() {
            let worker = &mut self.workers[at];
            match worker.next {
                Some((when, turn)) if when <= now => {
                    let instance = worker.instance.as_ref().expect("a process that has a turn");
                    worker.next = None;
                    match turn {
                        Turn::Kill => self.kill(at),
                        Turn::Stop(time) => {
                            instance.signal("STOP");
                            self.tally.freezes += 1;
                            worker.next = Some((now + time, Turn::Continue));
                        }
                        Turn::Continue => {
                            instance.signal("CONT");
                            if let Some(at_work) = &mut worker.at_work {
                                at_work.until = now + self.plan.time + self.plan.grace;
                            }
                        }
                    }
                    continue;
                }
                _ => {}
            }
            let is_late = worker.at_work.as_ref().is_some_and(|at_work| at_work.until < now);
            assert!(
                !is_late || worker.stands_still(),
                "no answer {:?} after the event, which had {:?}: {:#?}",
                worker.at_work.as_ref().unwrap().given.elapsed(),
                self.plan.time,
                self.tally
            );
        }
    }
}

impl Worker {
    /// What is to befall the process, unless something is already.
    fn befalls(&mut self, fate: Fate) {
        let now = Instant::now();
        if self.next.is_some() {
            return;
        }
        self.next = match fate {
            Fate::Live => None,
            Fate::Kill(after) => Some((now + after, Turn::Kill)),
            Fate::Freeze(after, time) => Some((now + after, Turn::Stop(time))),
        };
    }

    fn stands_still(&self) -> bool {
        matches!(self.next, Some((_, Turn::Continue)))
    }
}

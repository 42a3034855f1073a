//! Events to whoever listens: read from the kernel without a pause, named, and handed to bounded queues.
//!
//! A listener that is slower than the node loses events, never the node packets, and is told how many. The newest events are
//! kept, so that a listener can begin with what happened before it came.
//!
//! Not here: what an event looks like ([`crate::event`]).

use crate::enforcer::EventSource;
use crate::event::Naming;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use weir_abi::state::{EventKind, EventRecord};

/// Events that wait for one listener, at most.
const QUEUE: usize = 4096;
/// Listeners, at most.
const LISTENERS: usize = 32;
/// Events that are kept for listeners to come.
const RECENT: usize = 1024;
/// How often the kernel is asked for events while somebody listens,
const PAUSE: Duration = Duration::from_millis(10);
/// and while nobody does.
const IDLE_PAUSE: Duration = Duration::from_millis(50);

/// The events that a listener wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Drops alone.
    pub drops: bool,
    /// Events at this pod's interface, or whose other side is this pod or node.
    pub party: Option<String>,
    /// So many of the newest events first.
    pub last: usize,
}

/// There are enough listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LISTENERS} listen already; end one of them")]
pub struct TooManyListeners;

/// What a listener gets: events as JSON.
#[derive(Debug)]
pub struct Subscription {
    events: mpsc::Receiver<Arc<str>>,
    lost: Arc<AtomicU64>,
}

impl Subscription {
    /// The next event; `None` when the daemon ends.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        self.events.recv().await
    }

    /// How many events were lost for want of room since this was last asked.
    pub fn lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// The reader, and its listeners.
#[derive(Clone, Debug)]
pub struct Observer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    naming: Mutex<Naming>,
    listeners: Mutex<Vec<Listener>>,
    recent: Mutex<VecDeque<Recent>>,
    is_over: AtomicBool,
}

#[derive(Debug)]
struct Listener {
    filter: Filter,
    events: mpsc::Sender<Arc<str>>,
    lost: Arc<AtomicU64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer {
    /// Begins to read, on a thread of its own.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn spawn(mut source: Box<dyn EventSource>, naming: Naming) -> io::Result<Observer> {
        let observer = Observer::new(naming);
        let shared = Arc::clone(&observer.shared);
        thread::Builder::new().name("events".to_owned()).spawn(move || {
            while !shared.is_over.load(Ordering::Relaxed) {
                shared.drain(source.as_mut());
                let is_heard = !lock(&shared.listeners).is_empty();
                thread::sleep(if is_heard { PAUSE } else { IDLE_PAUSE });
            }
        })?;
        Ok(observer)
    }

    /// An observer that reads nothing by itself.
    fn new(naming: Naming) -> Self {
        let shared = Shared {
            naming: Mutex::new(naming),
            listeners: Mutex::default(),
            recent: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        Observer { shared: Arc::new(shared) }
    }

    /// Changes the names; events that come from then on have the new ones. What came before was about those who had the addresses then.
    pub fn rename(&self, change: impl FnOnce(&mut Naming)) {
        let mut naming = lock(&self.shared.naming);
        // What came before anything had a name has waited for this.
        if naming.is_complete() {
            for recent in lock(&self.shared.recent).iter_mut() {
                *recent = Recent::Told(recent.told(&naming));
            }
        }
        change(&mut naming);
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// [`TooManyListeners`].
    pub fn subscribe(&self, filter: Filter) -> Result<Subscription, TooManyListeners> {
        let mut listeners = lock(&self.shared.listeners);
        listeners.retain(|listener| !listener.events.is_closed());
        if listeners.len() >= LISTENERS {
            return Err(TooManyListeners);
        }
        let (events, received) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let listener = Listener { filter, events, lost: Arc::clone(&lost) };
        let naming = lock(&self.shared.naming);
        let recent = lock(&self.shared.recent);
        let wanted: Vec<Told> = recent
            .iter()
            .rev()
            .map(|recent| recent.told(&naming))
            .filter(|told| listener.wants(told))
            .take(listener.filter.last)
            .collect();
        wanted.iter().rev().for_each(|told| listener.tell(told));
        drop((naming, recent));
        listeners.push(listener);
        Ok(Subscription { events: received, lost })
    }

    /// Ends the reading; events that come later wait in the kernel.
    pub fn end(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        lock(&self.shared.listeners).clear();
    }
}

impl Shared {
    /// Hands on all events that are there now.
    fn drain(&self, source: &mut dyn EventSource) {
        while let Some(record) = source.next() {
            self.hand_on(&record);
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
        }
    }

    fn hand_on(&self, record: &EventRecord) {
        let mut listeners = lock(&self.listeners);
        {
            let mut recent = lock(&self.recent);
            if recent.len() == RECENT {
                recent.pop_front();
            }
            recent.push_back(Recent::Record(*record));
        }
        if listeners.is_empty() {
            return;
        }
        let told = Told::new(&lock(&self.naming), record);
        listeners.retain(|listener| {
            if listener.wants(&told) {
                listener.tell(&told);
            }
            !listener.events.is_closed()
        });
    }
}

/// An event that is kept: nobody may ever ask for it, so it is named when somebody does, or when names are about to change.
#[derive(Debug)]
enum Recent {
    Record(EventRecord),
    Told(Told),
}

impl Recent {
    fn told(&self, naming: &Naming) -> Told {
        match self {
            Recent::Record(record) => Told::new(naming, record),
            Recent::Told(told) => told.clone(),
        }
    }
}

/// An event, ready to be told.
#[derive(Clone, Debug)]
struct Told {
    is_drop: bool,
    parties: [Option<String>; 2],
    json: Arc<str>,
}

impl Told {
    fn new(naming: &Naming, record: &EventRecord) -> Self {
        let event = naming.event(record);
        // Strings and numbers always serialize.
        let json = serde_json::to_string(&event).unwrap_or_default().into();
        Told {
            is_drop: record.kind == EventKind::Drop as u8,
            parties: [event.source.name, event.destination.name],
            json,
        }
    }
}

impl Listener {
    fn wants(&self, told: &Told) -> bool {
        let is_about = |party: &String| told.parties.iter().flatten().any(|name| name == party);
        (!self.filter.drops || told.is_drop) && self.filter.party.as_ref().is_none_or(is_about)
    }

    fn tell(&self, told: &Told) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(Arc::clone(&told.json)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wanted::{Because, Placement};
    use std::collections::BTreeMap;
    use weir_abi::state::Hook;

    fn drop_at(interface: u32) -> EventRecord {
        EventRecord {
            kind: EventKind::Drop as u8,
            hook: Hook::ToPod as u8,
            interface,
            ..EventRecord::default()
        }
    }

    fn connection() -> EventRecord {
        EventRecord { kind: EventKind::Connection as u8, ..EventRecord::default() }
    }

    #[tokio::test]
    async fn a_slow_listener_loses_events_and_is_told_how_many() {
        let observer = Observer::new(Naming::new("n1"));
        let mut slow = observer.subscribe(Filter::default()).unwrap();
        for _ in 0..QUEUE + 3 {
            observer.shared.hand_on(&connection());
        }
        assert_eq!((slow.lost(), slow.lost()), (3, 0));
        assert!(slow.next().await.unwrap().contains("\"kind\":\"connection\""));
        observer.shared.hand_on(&connection());
        assert_eq!(slow.lost(), 0);
    }

    #[tokio::test]
    async fn a_listener_gets_what_it_asks_for() {
        let observer = Observer::new(Naming::new("n1"));
        for interface in 1..5 {
            observer.shared.hand_on(&drop_at(interface));
            observer.shared.hand_on(&connection());
        }
        let filter = Filter { drops: true, last: 2, ..Filter::default() };
        let mut drops = observer.subscribe(filter).unwrap();
        observer.shared.hand_on(&connection());
        observer.shared.hand_on(&drop_at(9));
        for interface in [3, 4, 9] {
            let told = drops.next().await.unwrap();
            assert!(told.contains(&format!("\"index\":{interface}")), "{told}");
        }
        observer.end();
        assert_eq!(drops.next().await, None);
    }

    #[tokio::test]
    async fn an_event_keeps_the_names_of_its_time() {
        let observer = Observer::new(Naming::new("n1"));
        let named = |pod: &str| {
            let (pod, interface) = (pod.to_owned(), format!("veth-{pod}"));
            BTreeMap::from([(7, Placement { pod, interface, by: Because::Route })])
        };
        observer.shared.hand_on(&drop_at(7));
        observer.rename(|naming| {
            naming.add_legend(Arc::default());
            naming.set_placements(named("shop/first"));
        });
        observer.shared.hand_on(&drop_at(7));
        observer.rename(|naming| naming.set_placements(named("shop/heir")));
        observer.shared.hand_on(&drop_at(7));
        let mut events = observer.subscribe(Filter { last: 9, ..Filter::default() }).unwrap();
        for name in ["shop/first", "shop/first", "shop/heir"] {
            let told = events.next().await.unwrap();
            assert!(told.contains(name), "{told}");
        }
    }

    #[test]
    fn there_is_an_end_to_listeners() {
        let observer = Observer::new(Naming::new("n1"));
        let mut listening: Vec<_> =
            (0..LISTENERS).map(|_| observer.subscribe(Filter::default()).unwrap()).collect();
        assert_eq!(observer.subscribe(Filter::default()).unwrap_err(), TooManyListeners);
        listening.pop();
        assert!(observer.subscribe(Filter::default()).is_ok());
    }
}

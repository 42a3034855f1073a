//! The tables of an image, each once: what is in them is made once for the same members and the same past, and equal ones are one.
//!
//! Backends stand in them by their place in a run; so ports of one service, whose backends differ by port alone, share a table. Not here: runs.

use super::history::{Past, unsettled};
use super::maglev::{self, Member};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use weir_abi::services::address_bytes;
use weir_abi::services::layout::{BYTE_SLOTS, HALF_SLOTS, WORD_SLOTS};

/// Who has slots: places in the run of backends, and what they are to the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Members {
    pub(super) places: Vec<u32>,
    pub(super) members: Vec<Member>,
    /// Candidates of the run, with those that have no slots.
    pub(super) listed: u32,
    /// One slot each, in no lasting order.
    pub(super) random: bool,
}

impl Members {
    /// The places by slot.
    fn slots(&self) -> Vec<u32> {
        if self.random {
            return self.places.clone();
        }
        let slots = maglev::slots(&self.members, maglev::size(self.members.len()));
        slots.into_iter().map(|member| self.places[member as usize]).collect()
    }
}

/// A table as bytes, which may be those of the image in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Encoded<'i> {
    pub(super) width: u32,
    pub(super) count: u32,
    /// Backends of the run: a flow may be with one that has no slots, because it ends or is not ready.
    pub(super) backends: u32,
    pub(super) slots: Cow<'i, [u8]>,
    pub(super) previous: Option<(u32, Vec<u8>)>,
}

/// All tables so far.
#[derive(Debug, Default)]
pub(super) struct Tables<'i> {
    numbers: FxHashMap<Rc<Encoded<'i>>, u32>,
    settled: FxHashMap<Members, u32>,
    all: Vec<Rc<Encoded<'i>>>,
    unsettled: usize,
}

impl<'i> Tables<'i> {
    /// The number of a table without a past.
    pub(super) fn settled(&mut self, members: &Members) -> u32 {
        if let Some(&known) = self.settled.get(members) {
            return known;
        }
        let number = self.add(&members.slots(), None, members.listed);
        self.settled.insert(members.clone(), number);
        number
    }

    /// The number of a table after a past, which is told in places of the same run of so many backends.
    pub(super) fn after(&mut self, members: &Members, past: &Past, listed: u32) -> u32 {
        let present = members.slots();
        let unsettled = unsettled(&present, past);
        if unsettled.contains(&true) {
            self.add(&present, Some((&unsettled, &past.settled)), listed)
        } else {
            self.add(&present, None, listed)
        }
    }

    /// The number of a table of which no slot is settled: for a service that nobody serves now, so that flows that are there may end.
    pub(super) fn ending(&mut self, past: &Past, listed: u32) -> u32 {
        self.add(&past.present, Some((&vec![true; past.present.len()], &past.settled)), listed)
    }

    fn add(&mut self, present: &[u32], past: Option<(&[bool], &[u32])>, listed: u32) -> u32 {
        let settled = past.map_or(&[][..], |(_, settled)| settled);
        let highest = present.iter().chain(settled).copied().max().unwrap_or(0).max(listed.saturating_sub(1));
        let width = match highest {
            ..0x80 => BYTE_SLOTS,
            0x80..0x8000 => HALF_SLOTS,
            _ => WORD_SLOTS,
        };
        let mut slots = bytes(present, width);
        let marked = past.map_or(&[][..], |(unsettled, _)| unsettled);
        for (slot, _) in marked.iter().enumerate().filter(|(_, unsettled)| **unsettled) {
            if let Some(top) = slots.get_mut((slot + 1) * width as usize - 1) {
                *top |= 0x80;
            }
        }
        let count = |slots: &[u32]| u32::try_from(slots.len()).unwrap_or(u32::MAX);
        self.put(Encoded {
            width,
            count: count(present),
            backends: highest + 1,
            slots: slots.into(),
            previous: past.map(|(_, settled)| (count(settled), bytes(settled, width))),
        })
    }

    /// The number of a table as it is.
    pub(super) fn put(&mut self, table: Encoded<'i>) -> u32 {
        if let Some(&known) = self.numbers.get(&table) {
            return known;
        }
        if table.previous.is_some() {
            // The highest byte of a slot has the mark.
            let highest = table.slots.iter().skip(table.width as usize - 1).step_by(table.width as usize);
            self.unsettled += highest.filter(|byte| **byte & 0x80 != 0).count();
        }
        let table = Rc::new(table);
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.numbers.insert(Rc::clone(&table), number);
        self.all.push(table);
        number
    }

    /// Bytes of a table's slots.
    pub(super) fn width(&self, number: u32) -> u32 {
        self.all.get(number as usize).map_or(0, |table| table.width)
    }

    /// All of them, by number.
    pub(super) fn all(&self) -> &[Rc<Encoded<'i>>] {
        &self.all
    }

    /// Slots that are unsettled.
    pub(super) const fn unsettled_slots(&self) -> usize {
        self.unsettled
    }
}

/// What tables know backends by, given by address, port and weight in the order of addresses: the address, and the port where another has the same
/// address.
pub(super) fn named(backends: impl Iterator<Item = (IpAddr, u16, u32)>) -> Vec<Member> {
    let all: Vec<(IpAddr, u16, u32)> = backends.collect();
    let address = |place: usize| all.get(place).map(|one| one.0);
    let is_alone = |place: usize, own: IpAddr| {
        address(place + 1) != Some(own) && place.checked_sub(1).and_then(address) != Some(own)
    };
    let member = |(place, &(address, port, weight)): (usize, &(IpAddr, u16, u32))| {
        let port = if is_alone(place, address) { 0 } else { port };
        Member { name: maglev::name(address_bytes(address), port), weight }
    };
    all.iter().enumerate().map(member).collect()
}

fn bytes(slots: &[u32], width: u32) -> Vec<u8> {
    match width {
        BYTE_SLOTS => slots.iter().map(|&slot| slot as u8).collect(),
        HALF_SLOTS => slots.iter().flat_map(|&slot| (slot as u16).to_le_bytes()).collect(),
        _ => slots.iter().flat_map(|slot| slot.to_le_bytes()).collect(),
    }
}

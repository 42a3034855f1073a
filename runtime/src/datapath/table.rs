//! A pinned map with typed keys and values.

use super::error::DatapathError;
use super::syscall::{self, RawMap};
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Entries copied at a time.
const BATCH: u32 = 4096;

/// What is a map's key or value.
pub(super) trait Record: FromBytes + IntoBytes + Immutable + Copy {}
impl<T: FromBytes + IntoBytes + Immutable + Copy> Record for T {}

/// A map from `K` to `V`; with several values an entry, one for each CPU.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    name: &'static str,
    raw: RawMap,
    values: usize,
    /// Entries are changed where they are.
    in_place: bool,
    kinds: PhantomData<fn() -> (K, V)>,
}

impl<K: Record, V: Record> Table<K, V> {
    /// Opens a pinned map with one value an entry.
    pub(super) fn open(folder: &Path, name: &'static str) -> Result<Self, DatapathError> {
        Self::open_with(folder, name, 1)
    }

    /// Opens a pinned map with `values` values an entry.
    pub(super) fn open_with(folder: &Path, name: &'static str, values: usize) -> Result<Self, DatapathError> {
        let fail = |source| DatapathError::Map { map: name, what: "open", source };
        let raw = syscall::open(&folder.join(name)).and_then(|fd| RawMap::new(fd, values)).map_err(fail)?;
        let (info, expected) = (raw.info(), (size_of::<K>(), size_of::<V>()));
        if (info.key_size as usize, info.value_size as usize) != expected {
            return Err(fail(io::Error::other("its keys or values have another size")));
        }
        Ok(Table { name, raw, values, in_place: false, kinds: PhantomData })
    }

    /// Has entries changed where they are, which a lock in their values makes possible: a packet that has looked one up reads no other.
    pub(super) const fn changed_in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Its name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// How many entries it can hold.
    pub(super) const fn capacity(&self) -> u32 {
        self.raw.info().max_entries
    }

    fn fail(&self, what: &'static str) -> impl Fn(io::Error) -> DatapathError {
        let (map, capacity) = (self.name, self.capacity());
        move |source| match source.raw_os_error() {
            Some(libc::E2BIG) => DatapathError::Full { map, capacity },
            _ => DatapathError::Map { map, what, source },
        }
    }

    /// Sets an entry of one value.
    pub(super) fn set(&self, key: &K, value: &V) -> Result<(), DatapathError> {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        let set = if self.in_place { self.raw.set_in_place(key, value) } else { self.raw.set(key, value) };
        set.map_err(self.fail("set an entry"))
    }

    /// Sets all values of an entry to zero.
    pub(super) fn clear(&self, key: &K) -> Result<(), DatapathError> {
        let zeros = vec![0u8; size_of::<V>().next_multiple_of(8) * self.values];
        self.raw.set(key.as_bytes(), &zeros).map_err(self.fail("clear an entry"))
    }

    /// Removes an entry; false if there was none.
    pub(super) fn remove(&self, key: &K) -> Result<bool, DatapathError> {
        self.raw.remove(key.as_bytes()).map_err(self.fail("remove an entry"))
    }

    /// Removes an entry of one value that is over, and says whether it did. A packet may give the entry another life between any two looks at
    /// it: what was taken and is not over goes back, unless there is another by then.
    pub(super) fn remove_if(&self, key: &K, is_over: impl Fn(&V) -> bool) -> Result<bool, DatapathError> {
        if !self.get(key)?.is_some_and(|value| is_over(&value)) {
            return Ok(false);
        }
        let mut value = vec![0u8; size_of::<V>()];
        if !self.raw.take(key.as_bytes(), &mut value).map_err(self.fail("remove an entry"))? {
            return Ok(false);
        }
        if V::read_from_bytes(&value).is_ok_and(|value| is_over(&value)) {
            return Ok(true);
        }
        self.raw.add(key.as_bytes(), &value).map_err(self.fail("put an entry back"))?;
        Ok(false)
    }

    /// Entries on from `cursor`, which is empty at the start and again at the end; of several values all, one after the
    /// other. A map that changes meanwhile may give an entry twice or not at all.
    pub(super) fn batch(&self, cursor: &mut Vec<u8>) -> Result<Vec<(K, Vec<V>)>, DatapathError> {
        let mut most = BATCH.min(self.capacity().max(1));
        let (keys, values) = loop {
            match self.raw.batch(cursor, most) {
                // A bucket of a hash map holds more than there was room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && most < 1 << 20 => most *= 2,
                other => break other.map_err(self.fail("list entries"))?,
            }
        };
        let each = if self.values == 1 { size_of::<V>() } else { size_of::<V>().next_multiple_of(8) };
        let entry = |(key, values): (&[u8], &[u8])| {
            let key = K::read_from_bytes(key).ok()?;
            let values = values.chunks_exact(each);
            let values = values.filter_map(|value| V::read_from_prefix(value).ok()).map(|(value, _)| value);
            Some((key, values.collect()))
        };
        let keys = keys.chunks_exact(size_of::<K>());
        Ok(keys.zip(values.chunks_exact(each * self.values)).filter_map(entry).collect())
    }

    /// Shows all entries, about as many as the map can hold at most.
    pub(super) fn each(&self, mut show: impl FnMut((K, Vec<V>))) -> Result<(), DatapathError> {
        let (mut cursor, mut shown) = (Vec::new(), 0);
        loop {
            let some = self.batch(&mut cursor)?;
            shown += some.len();
            some.into_iter().for_each(&mut show);
            if cursor.is_empty() || shown >= self.capacity() as usize {
                return Ok(());
            }
        }
    }

    /// All entries of one value.
    pub(super) fn entries(&self) -> Result<Vec<(K, V)>, DatapathError> {
        let mut all = Vec::new();
        self.each(|(key, values)| all.extend(values.first().map(|value| (key, *value))))?;
        Ok(all)
    }

    /// Changes an entry of one value, if there is one.
    pub(super) fn change(&self, key: &K, change: impl FnOnce(&mut V)) -> Result<(), DatapathError> {
        let Some(mut value) = self.get(key)? else { return Ok(()) };
        change(&mut value);
        self.set(key, &value)
    }

    /// The value of an entry of one.
    pub(super) fn get(&self, key: &K) -> Result<Option<V>, DatapathError> {
        let mut value = vec![0u8; size_of::<V>()];
        let found = self.raw.get(key.as_bytes(), &mut value).map_err(self.fail("look an entry up"))?;
        Ok(if found { V::read_from_bytes(&value).ok() } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::syscall::{Creation, create};
    use std::cell::Cell;

    /// `BPF_MAP_TYPE_LRU_HASH`.
    const LRU_HASH: u32 = 9;

    fn table() -> Option<Table<u32, u32>> {
        let map =
            Creation { kind: LRU_HASH, value_size: 4, entries: 64, flags: 0, inner: None, name: "table" };
        let fd = match create(&map) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                println!("SKIPPED: no maps can be made: {error}");
                return None;
            }
            made => made.unwrap(),
        };
        let raw = RawMap::new(fd, 1).unwrap();
        Some(Table { name: "table", raw, values: 1, in_place: false, kinds: PhantomData })
    }

    #[test]
    fn an_entry_that_lives_again_by_the_time_it_is_removed_stays() {
        let Some(table) = table() else { return };
        for (key, value) in [(1, 10), (2, 10)] {
            table.set(&key, &value).unwrap();
        }
        assert!(table.remove_if(&1, |&expires| expires < 20).unwrap());
        assert_eq!(table.get(&1).unwrap(), None);
        let looks = Cell::new(0);
        let is_over = |&expires: &u32| {
            looks.set(looks.get() + 1);
            if looks.get() == 1 {
                // A packet passes.
                table.set(&2, &30).unwrap();
            }
            expires < 20
        };
        assert!(!table.remove_if(&2, is_over).unwrap());
        assert_eq!((table.get(&2).unwrap(), looks.get()), (Some(30), 2));
        assert!(!table.remove_if(&3, |_| true).unwrap());
    }
}

//! The types in a BPF object, as the compiler laid them out: a reader of its `.BTF` section, as far as layouts need it.
//!
//! Not here: what they should be.

/// What BTF numbers kinds as.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const ENUM64: u32 = 19;
}

/// One type.
#[derive(Debug)]
struct Type {
    name: String,
    kind: u32,
    /// Bytes, or the type that it is of.
    size_or_type: u32,
    /// Whatever follows, in words.
    rest: Vec<u32>,
}

/// A member of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Bytes from the start.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Bytes.
    pub size: usize,
    /// Its members, in order.
    pub members: Vec<Member>,
}

/// A map as its declaration has it; 0 where that says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MapDefinition {
    /// Its name.
    pub name: String,
    /// `BPF_MAP_TYPE_…`.
    pub kind: usize,
    /// Bytes of a key.
    pub key: usize,
    /// Bytes of a value.
    pub value: usize,
    /// `BPF_F_…`.
    pub flags: usize,
}

/// The types of an object, by number.
#[derive(Debug)]
pub struct Btf {
    types: Vec<Type>,
    strings: Vec<u8>,
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
}

fn text(bytes: &[u8], at: usize) -> Option<String> {
    let bytes = bytes.get(at..)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// A section of a 64-bit little-endian ELF file.
fn section<'o>(object: &'o [u8], wanted: &str) -> Option<&'o [u8]> {
    let (table, each) = (number(object, 0x28, 8)?, number(object, 0x3A, 2)?);
    let (count, names) = (number(object, 0x3C, 2)?, number(object, 0x3E, 2)?);
    let bytes = |index: usize| {
        let header = table + index * each;
        let (start, len) = (number(object, header + 0x18, 8)?, number(object, header + 0x20, 8)?);
        object.get(start..start + len)
    };
    let name = |index: usize| text(bytes(names)?, number(object, table + index * each, 4)?);
    (0..count).find(|&index| name(index).as_deref() == Some(wanted)).and_then(bytes)
}

impl Btf {
    /// The types of an object; `None` if it has none, or none that can be read.
    pub fn of_object(object: &[u8]) -> Option<Btf> {
        let btf = section(object, ".BTF")?;
        let header = number(btf, 4, 4)?;
        let (types, len) = (header + number(btf, 8, 4)?, number(btf, 12, 4)?);
        let strings = btf.get(header + number(btf, 16, 4)?..)?;
        let words = btf.get(types..types + len)?.chunks_exact(4);
        let mut words = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        // Number 0 is void.
        let mut all = vec![Type { name: String::new(), kind: 0, size_or_type: 0, rest: Vec::new() }];
        while let Some(name) = words.next() {
            let (info, size_or_type) = (words.next()?, words.next()?);
            let (kind, count) = (info >> 24 & 0x1F, info as usize & 0xFFFF);
            let more = match kind {
                kind::INT | kind::VAR | kind::DECL_TAG => 1,
                kind::ARRAY => 3,
                kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3 * count,
                kind::ENUM | kind::FUNC_PROTO => 2 * count,
                _ => 0,
            };
            let rest: Vec<u32> = words.by_ref().take(more).collect();
            all.push(Type { name: text(strings, name as usize)?, kind, size_or_type, rest });
        }
        Some(Btf { types: all, strings: strings.to_vec() })
    }

    fn named(&self, name: &str, kinds: &[u32]) -> Option<&Type> {
        self.types.iter().find(|one| one.name == name && kinds.contains(&one.kind))
    }

    fn by_number(&self, number: u32) -> Option<&Type> {
        self.types.get(number as usize)
    }

    fn string(&self, at: u32) -> String {
        text(&self.strings, at as usize).unwrap_or_default()
    }

    /// Bytes of a value of a type.
    fn size(&self, number: u32) -> Option<usize> {
        let one = self.by_number(number)?;
        match one.kind {
            kind::PTR => Some(8),
            kind::ARRAY => Some(self.size(one.rest[0])? * one.rest[2] as usize),
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 => {
                Some(one.size_or_type as usize)
            }
            // Names for other types, and const and volatile ones.
            _ if one.size_or_type != 0 => self.size(one.size_or_type),
            _ => None,
        }
    }

    /// A struct by its name.
    pub fn record(&self, name: &str) -> Option<Record> {
        let record = self.named(name, &[kind::STRUCT])?;
        let member = |part: &[u32]| {
            let offset = part[2] as usize / 8;
            Some(Member { name: self.string(part[0]), offset, size: self.size(part[1])? })
        };
        let members = record.rest.chunks_exact(3).map(member).collect::<Option<_>>()?;
        Some(Record { size: record.size_or_type as usize, members })
    }

    /// The names and numbers of an enum.
    pub fn numbers(&self, name: &str) -> Option<Vec<(String, u64)>> {
        let found = self.named(name, &[kind::ENUM, kind::ENUM64])?;
        let words = if found.kind == kind::ENUM { 2 } else { 3 };
        let high = |part: &[u32]| part.get(2).map_or(0, |&high| u64::from(high) << 32);
        let parts = found.rest.chunks_exact(words);
        Some(parts.map(|part| (self.string(part[0]), u64::from(part[1]) | high(part))).collect())
    }

    /// The maps that the object declares, by name.
    pub fn maps(&self) -> Vec<MapDefinition> {
        let Some(section) = self.named(".maps", &[kind::DATASEC]) else { return Vec::new() };
        let definition = |part: &[u32]| {
            let variable = self.by_number(part[0])?;
            let declaration = self.by_number(variable.size_or_type)?;
            let mut map = MapDefinition { name: variable.name.clone(), ..MapDefinition::default() };
            for member in declaration.rest.chunks_exact(3) {
                // `__uint` is a pointer to an array of so many, `__type` a pointer to the type.
                let pointed = self.by_number(member[1])?.size_or_type;
                let count = || Some(self.by_number(pointed)?.rest.get(2).copied()? as usize);
                match self.string(member[0]).as_str() {
                    "type" => map.kind = count()?,
                    "key_size" => map.key = count()?,
                    "value_size" => map.value = count()?,
                    "map_flags" => map.flags = count()?,
                    "key" => map.key = self.size(pointed)?,
                    "value" => map.value = self.size(pointed)?,
                    _ => {}
                }
            }
            Some(map)
        };
        let mut maps: Vec<MapDefinition> = section.rest.chunks_exact(3).filter_map(definition).collect();
        maps.sort();
        maps
    }
}

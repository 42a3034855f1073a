//! The lane: long lists of CIDRs are read straight from the text, before the YAML parser.
//!
//! A million CIDRs are 26 MB of YAML, of which the parser is the slowest part of a whole compile.
//! But in a file, such lists are runs of lines at one indent, of the forms `- 10.0.0.0/8` and
//! `- cidr: 10.0.0.0/8`, perhaps with `except:` and its own lines below. [`scan`] finds runs of at
//! least [`LEAST_LINES`] lines, reads them, and cuts all but their first and last item out of the
//! text that the YAML parser gets.
//!
//! Why this cannot change a result: the first and the last item stay in the text. When the parser
//! says that both are items of one block sequence, next to each other, then the lines between them
//! are items of it too: each line opens an item at the same indent, and is complete in itself. (The
//! last item stays because lines after it might continue it.) When the parser says anything else
//! (the run lay in a block scalar, in a comment, in a broken document), or the list turns out not
//! to be one of CIDRs, the file is read again without the lane. A line that is not exactly of the
//! form, or not a valid CIDR, ends the run, so that the parser and the decoders report it.

use super::offsets::Offsets;
use super::prefix::{Prefix, parse_prefix};
use crate::tree::{CidrBlock, PlacedCidr};

/// Shorter runs cost more than they save. Tests take shorter ones, to meet more borders.
const LEAST_LINES: usize = if cfg!(test) { 3 } else { 64 };

/// Where a run stood, in the text as parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Start of the value of the run's first item, which is still in the text.
    pub(crate) first_at: u32,
    /// Start of the value of the item after the run, which is still in the text.
    pub(crate) last_at: u32,
    /// YAML values that were cut.
    pub(crate) values: usize,
}

/// The places of all runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    places: Vec<Place>,
}

impl Lane {
    /// The runs in order.
    pub(crate) fn runs(&self) -> &[Place] {
        &self.places
    }
}

/// The items of a run: its first (which is also still in the text), and those that were cut.
#[derive(Debug)]
pub(crate) enum RunItems {
    /// `- 10.0.0.0/8`
    Plain {
        /// The prefixes, as blocks without exceptions.
        blocks: Vec<CidrBlock>,
        /// Places, after the first item, of those with host bits.
        host_bits: Vec<u32>,
        /// Whether some are addresses without a prefix length.
        bare: bool,
    },
    /// `- cidr: 10.0.0.0/8`, perhaps with `except`.
    Blocks {
        /// The blocks.
        blocks: Vec<CidrBlock>,
        /// Their exceptions.
        excepts: Vec<PlacedCidr>,
        /// Places, after the first item, of those with host bits.
        host_bits: Vec<u32>,
    },
}

/// A text less its runs.
#[derive(Debug)]
pub(crate) struct Scan {
    /// What is left for the YAML parser.
    pub(crate) text: String,
    /// From its places to the original ones.
    pub(crate) offsets: Offsets,
    /// Where the runs were.
    pub(crate) lane: Lane,
    /// What they held.
    pub(crate) runs: Vec<Option<RunItems>>,
}

/// Looks for runs. `None` if there are none.
pub(crate) fn scan(text: &str) -> Option<Scan> {
    let mut scan =
        Scan { text: String::new(), offsets: Offsets::default(), lane: Lane::default(), runs: Vec::new() };
    let lines = Lines { text, bytes: text.as_bytes() };
    let (mut line, mut kept) = (0, 0);
    while line < text.len() {
        let Some((indent, value)) = lines.item(line) else {
            line = lines.next(line);
            continue;
        };
        let run = match lines.key(value) {
            Some(_) => Run::of_blocks(&lines, line, indent),
            None => Run::of_prefixes(&lines, line, indent),
        };
        let run = match run {
            Ok(run) => run,
            Err(next) => {
                line = next;
                continue;
            }
        };
        // Cut from the second item up to the last one; the last one begins after the cut.
        let inner = indent + 2;
        scan.text.push_str(text.get(kept..run.cut.0)?);
        let cut_at = offset(scan.text.len());
        scan.lane.places.push(Place {
            first_at: offset(scan.text.len() - (run.cut.0 - line) + inner),
            last_at: cut_at + offset(inner),
            values: run.values,
        });
        scan.offsets.cut(cut_at, offset(run.cut.1 - run.cut.0));
        scan.runs.push(Some(run.items));
        kept = run.cut.1;
        line = lines.next(kept);
    }
    if scan.runs.is_empty() {
        return None;
    }
    scan.text.push_str(text.get(kept..)?);
    Some(scan)
}

/// A run as it was found.
struct Run {
    items: RunItems,
    /// What to cut: from the start of the second item's line to that of the last one's.
    cut: (usize, usize),
    values: usize,
}

impl Run {
    /// Lines `- 10.0.0.0/8` from `first` on; or where to look on if they are too few.
    fn of_prefixes(lines: &Lines<'_>, first: usize, indent: usize) -> Result<Run, usize> {
        let (mut blocks, mut host_bits, mut any_bare) = (Vec::new(), Vec::new(), false);
        let (mut line, mut last, mut second) = (first, first, first);
        while let Some(value) = lines.item_at(line, indent)
            && let Some((prefix, next)) = lines.prefix(value)
        {
            if prefix.host_bits && line != first {
                host_bits.push(offset(value));
            }
            any_bare |= prefix.bare;
            make_room(&mut blocks, first, line, lines.bytes.len());
            blocks
                .push(CidrBlock { cidr: PlacedCidr { net: prefix.net, at: offset(value) }, except: (0, 0) });
            if line == first {
                second = next;
            }
            (last, line) = (line, next);
        }
        if blocks.len() < LEAST_LINES {
            return Err(if line == first { lines.next(first) } else { line });
        }
        // The last one is left to the parser.
        let popped = blocks.pop();
        if host_bits.last().copied() == popped.map(|block| block.cidr.at) {
            host_bits.pop();
        }
        let values = blocks.len() - 1;
        trim(&mut blocks);
        Ok(Run { items: RunItems::Plain { blocks, host_bits, bare: any_bare }, cut: (second, last), values })
    }

    /// Entries `- cidr: 10.0.0.0/8` from `first` on; or where to look on if they are too few.
    fn of_blocks(lines: &Lines<'_>, first: usize, indent: usize) -> Result<Run, usize> {
        let (mut blocks, mut excepts, mut host_bits) = (Vec::new(), Vec::new(), Vec::new());
        let (mut line, mut last, mut second) = (first, first, first);
        let (mut count, mut values) = (0, 0);
        // What the entry before the one being read has added, to take the last one back.
        let mut before = (0, 0, 0);
        while let Some(key) = lines.item_at(line, indent)
            && let Some(value) = lines.key(key)
            && let Some((prefix, next)) = lines.prefix(value)
            && !prefix.bare
        {
            before = (excepts.len(), host_bits.len(), values);
            if count == 1 {
                second = line;
            }
            (last, line) = (line, next);
            count += 1;
            if prefix.host_bits && count > 1 {
                host_bits.push(offset(value));
            }
            let from = excepts.len();
            let complete = lines.excepts(&mut line, indent, prefix, &mut excepts, |at| {
                if count > 1 {
                    host_bits.push(at);
                }
            });
            let except = (offset(from), offset(excepts.len()));
            make_room(&mut blocks, first, line, lines.bytes.len());
            make_room(&mut excepts, first, line, lines.bytes.len());
            blocks.push(CidrBlock { cidr: PlacedCidr { net: prefix.net, at: offset(value) }, except });
            if count > 1 {
                values += 3 + if excepts.len() > from { 2 + excepts.len() - from } else { 0 };
            }
            if !complete {
                break;
            }
        }
        if count < 3 || !lines.at_least(second, last) {
            // An exception list below the first entry may be a run of its own.
            return Err(lines.next(first));
        }
        blocks.pop();
        excepts.truncate(before.0);
        host_bits.truncate(before.1);
        trim(&mut blocks);
        trim(&mut excepts);
        Ok(Run {
            items: RunItems::Blocks { blocks, excepts, host_bits },
            cut: (second, last),
            values: before.2,
        })
    }
}

/// The lines of a text, by the offsets of their starts.
struct Lines<'t> {
    text: &'t str,
    bytes: &'t [u8],
}

impl Lines<'_> {
    /// The line after the one that holds `at`.
    fn next(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        memchr::memchr(b'\n', rest).map_or(self.bytes.len(), |end| at + end + 1)
    }

    /// Indent and value of a line that opens a list item.
    fn item(&self, line: usize) -> Option<(usize, usize)> {
        let indent = self.bytes.get(line..)?.iter().take_while(|&&byte| byte == b' ').count();
        self.bytes.get(line + indent..)?.starts_with(b"- ").then_some((indent, line + indent + 2))
    }

    /// The value, if the line opens a list item at just this indent.
    fn item_at(&self, line: usize, indent: usize) -> Option<usize> {
        let start = self.bytes.get(line..line + indent + 2)?;
        let (spaces, dash) = start.split_at(indent);
        (dash == b"- " && spaces.iter().all(|&byte| byte == b' ')).then_some(line + indent + 2)
    }

    /// The value after `cidr: `.
    fn key(&self, at: usize) -> Option<usize> {
        self.bytes.get(at..)?.starts_with(b"cidr: ").then_some(at + 6)
    }

    /// A prefix that fills the rest of its line, quoted or not, and the next line.
    fn prefix(&self, at: usize) -> Option<(Prefix, usize)> {
        let rest = self.bytes.get(at..)?;
        let quote = rest.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
        let start = usize::from(quote.is_some());
        let length = rest.get(start..)?.iter().take_while(|&&byte| is_address(byte)).count();
        let end = start + length;
        // Unquoted, a colon at the end would make the address a key.
        if quote.is_none() && rest.get(end.checked_sub(1)?) == Some(&b':') {
            return None;
        }
        let mut after = end;
        if let Some(quote) = quote {
            if rest.get(after) != Some(&quote) {
                return None;
            }
            after += 1;
        }
        if rest.get(after) == Some(&b'\r') {
            after += 1;
        }
        match rest.get(after) {
            Some(b'\n') => after += 1,
            None if rest.get(after.checked_sub(1)?) != Some(&b'\r') => {}
            _ => return None,
        }
        let prefix = parse_prefix(self.text.get(at + start..at + end)?)?;
        Some((prefix, at + after))
    }

    /// The exceptions below an entry, if it has any: moves `line` behind them. Returns whether the
    /// entry is complete; if not, it and what follows is left to the parser.
    fn excepts(
        &self,
        line: &mut usize,
        indent: usize,
        block: Prefix,
        excepts: &mut Vec<PlacedCidr>,
        mut host_bits: impl FnMut(u32),
    ) -> bool {
        let inner = indent + 2;
        let Some(start) = self.bytes.get(*line..*line + inner) else { return true };
        let rest = self.bytes.get(*line + inner..).unwrap_or(&[]);
        let key = match rest {
            [b'e', b'x', b'c', b'e', b'p', b't', b':', b'\n', ..] => 8,
            [b'e', b'x', b'c', b'e', b'p', b't', b':', b'\r', b'\n', ..] => 9,
            _ => return true,
        };
        if start.iter().any(|&byte| byte != b' ') {
            return true;
        }
        let list = *line + inner + key;
        let Some((deeper, _)) = self.item(list).filter(|&(deeper, _)| deeper >= inner) else { return false };
        let mut at = list;
        while let Some(value) = self.item_at(at, deeper) {
            let Some((prefix, next)) = self.prefix(value) else { return false };
            if prefix.bare || !block.net.contains(&prefix.net) {
                return false;
            }
            if prefix.host_bits {
                host_bits(offset(value));
            }
            excepts.push(PlacedCidr { net: prefix.net, at: offset(value) });
            at = next;
        }
        *line = at;
        true
    }

    /// Whether at least [`LEAST_LINES`] lines lie between two places.
    fn at_least(&self, from: usize, to: usize) -> bool {
        let between = self.bytes.get(from..to).unwrap_or(&[]);
        memchr::memchr_iter(b'\n', between).take(LEAST_LINES).count() == LEAST_LINES
    }
}

/// Before a long list grows once more, makes room for all that the rest of the text may hold at the
/// size of its lines so far. Memory that is not written is not taken, and [`trim`] gives it back;
/// doubling would hold the list twice for a moment.
fn make_room<T>(list: &mut Vec<T>, first: usize, line: usize, end: usize) {
    const LONG: usize = 4096;
    if list.len() == list.capacity() && list.len() >= LONG {
        let each = ((line - first) / list.len()).max(1);
        list.reserve_exact((end - line) / each + LONG);
    }
}

/// Gives back room that is not needed, but for the few items that come from the parser.
fn trim<T>(list: &mut Vec<T>) {
    list.shrink_to(list.len() + 16);
}

fn is_address(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/')
}

/// Texts are bounded to 4 GiB before they come here.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

//! SCTP packets (RFC 9260): the common header, chunks, and the sum over all of them.
//!
//! Invariant: what cannot be read to its end, or whose sum is another, is no packet. Not here: who says what when (`sctp.rs`).

/// Types of chunks.
pub(super) const DATA: u8 = 0;
pub(super) const INIT: u8 = 1;
pub(super) const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
pub(super) const ABORT: u8 = 6;
pub(super) const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;

/// The parameter of an INIT ACK that is the cookie.
const STATE_COOKIE: u16 = 7;
/// Bytes that either side takes at once.
const WINDOW: u32 = 65_535;
/// Flags of a message that is one chunk: it begins, and ends.
const WHOLE: u8 = 3;
const HEADER: usize = 12;
/// Where the sum is.
const SUM: usize = 8;
/// Bytes of an INIT without parameters, and of DATA before the message.
const INIT_BODY: usize = 16;
const DATA_HEAD: usize = 12;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) source: u16,
    pub(super) destination: u16,
    /// The tag that whom it is for chose; 0 with an INIT.
    pub(super) tag: u32,
    pub(super) chunks: Vec<Chunk>,
}

/// A chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    kind: u8,
    flags: u8,
    body: Vec<u8>,
}

impl Packet {
    /// The packet as it travels.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.source.to_be_bytes(), self.destination.to_be_bytes()].concat();
        bytes.extend(self.tag.to_be_bytes());
        bytes.extend([0; 4]);
        for Chunk { kind, flags, body } in &self.chunks {
            bytes.extend([*kind, *flags]);
            bytes.extend(length_of(body).to_be_bytes());
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let sum = crc32c(&bytes).to_le_bytes();
        bytes[SUM..HEADER].copy_from_slice(&sum);
        bytes
    }

    /// Reads a packet.
    pub(super) fn parse(bytes: &[u8]) -> Option<Packet> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER>()?;
        let mut unsummed = bytes.to_vec();
        unsummed.get_mut(SUM..HEADER)?.fill(0);
        if array(header, SUM).map(u32::from_le_bytes)? != crc32c(&unsummed) {
            return None;
        }
        let mut chunks = Vec::new();
        while let Some(([kind, flags, length @ ..], _)) = rest.split_first_chunk::<4>() {
            let length = usize::from(u16::from_be_bytes(*length));
            chunks.push(Chunk { kind: *kind, flags: *flags, body: rest.get(4..length)?.to_vec() });
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Packet {
            source: u16::from_be_bytes(array(header, 0)?),
            destination: u16::from_be_bytes(array(header, 2)?),
            tag: u32::from_be_bytes(array(header, 4)?),
            chunks,
        })
    }

    /// What the first chunk of a type holds.
    pub(super) fn chunk(&self, kind: u8) -> Option<&[u8]> {
        self.chunks.iter().find(|chunk| chunk.kind == kind).map(|chunk| chunk.body.as_slice())
    }

    /// The tag that an INIT or an INIT ACK chooses.
    pub(super) fn chosen_tag(&self, kind: u8) -> Option<u32> {
        array(self.chunk(kind)?, 0).map(u32::from_be_bytes)
    }

    /// The cookie of an INIT ACK.
    pub(super) fn cookie(&self) -> Option<&[u8]> {
        let mut rest = self.chunk(INIT_ACK)?.get(INIT_BODY..)?;
        loop {
            let [kind, length] = [array(rest, 0)?, array(rest, 2)?].map(u16::from_be_bytes);
            let length = usize::from(length);
            if kind == STATE_COOKIE {
                return rest.get(4..length);
            }
            rest = rest.get(length.next_multiple_of(4).max(4)..)?;
        }
    }

    /// The number and the message of DATA.
    pub(super) fn message(&self) -> Option<(u32, &[u8])> {
        let body = self.chunk(DATA)?;
        Some((u32::from_be_bytes(array(body, 0)?), body.get(DATA_HEAD..)?))
    }
}

impl Chunk {
    /// Begins an association; `number` is that of the first DATA.
    pub(super) fn init(tag: u32, number: u32) -> Chunk {
        let mut body = [tag, WINDOW].map(u32::to_be_bytes).concat();
        body.extend([1_u16; 2].map(u16::to_be_bytes).concat());
        body.extend(number.to_be_bytes());
        Chunk { kind: INIT, flags: 0, body }
    }

    /// Answers that, with a cookie to be sent back.
    pub(super) fn init_ack(tag: u32, number: u32, cookie: &[u8]) -> Chunk {
        let mut body = Chunk::init(tag, number).body;
        body.extend([STATE_COOKIE, length_of(cookie)].map(u16::to_be_bytes).concat());
        body.extend(cookie);
        Chunk { kind: INIT_ACK, flags: 0, body }
    }

    /// Sends a cookie back.
    pub(super) fn cookie_echo(cookie: &[u8]) -> Chunk {
        Chunk { kind: COOKIE_ECHO, flags: 0, body: cookie.to_vec() }
    }

    /// Answers that.
    pub(super) fn cookie_ack() -> Chunk {
        Chunk { kind: COOKIE_ACK, flags: 0, body: Vec::new() }
    }

    /// A message with its number.
    pub(super) fn data(number: u32, message: &[u8]) -> Chunk {
        // Stream, number in the stream and kind of payload are 0.
        let body = [&number.to_be_bytes(), [0; 8].as_slice(), message].concat();
        Chunk { kind: DATA, flags: WHOLE, body }
    }

    /// Says that everything up to a number has come.
    pub(super) fn sack(number: u32) -> Chunk {
        let body = [number, WINDOW, 0].map(u32::to_be_bytes).concat();
        Chunk { kind: SACK, flags: 0, body }
    }

    /// Ends an association, or says that there is none.
    pub(super) fn abort() -> Chunk {
        Chunk { kind: ABORT, flags: 0, body: Vec::new() }
    }
}

/// The length that the head of a chunk or a parameter tells, its own four bytes included.
fn length_of(body: &[u8]) -> u16 {
    u16::try_from(body.len() + 4).unwrap_or(u16::MAX)
}

/// CRC32c (RFC 9260, appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 };
        }
    }
    !sum
}

/// So many bytes from a place on.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let chunks = vec![
            Chunk::init_ack(7, 9, b"cookie"),
            Chunk::cookie_echo(b"cooky"),
            Chunk::cookie_ack(),
            Chunk::sack(8),
            Chunk::data(8, b"message"),
        ];
        let packet = Packet { source: 1000, destination: 80, tag: 0xABCD_EF01, chunks };
        let bytes = packet.to_bytes();
        assert_eq!(Packet::parse(&bytes).as_ref(), Some(&packet));
        assert_eq!(packet.chosen_tag(INIT_ACK), Some(7));
        assert_eq!(packet.cookie(), Some(b"cookie".as_slice()));
        assert_eq!(packet.message(), Some((8, b"message".as_slice())));
        for at in 0..bytes.len() {
            assert_eq!(Packet::parse(&bytes[..at]), None, "{at} bytes");
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(Packet::parse(&other), None, "byte {at}");
        }
    }

    #[test]
    fn a_packet_that_lies_about_lengths_is_read_to_an_end() {
        for length in 0..=40_u16 {
            let mut ack = Chunk::init_ack(7, 9, b"cookie");
            ack.body[INIT_BODY..INIT_BODY + 4].copy_from_slice(&[0, 8, 0, length.to_be_bytes()[1]]);
            let packet = Packet { source: 1, destination: 2, tag: 3, chunks: vec![ack] };
            assert_eq!(packet.cookie(), None, "{length}");
            let mut bytes = packet.to_bytes();
            bytes[HEADER + 2..HEADER + 4].copy_from_slice(&length.to_be_bytes());
            bytes[SUM..HEADER].fill(0);
            let sum = crc32c(&bytes).to_le_bytes();
            bytes[SUM..HEADER].copy_from_slice(&sum);
            let _ = Packet::parse(&bytes).and_then(|packet| packet.message().map(|(number, _)| number));
        }
    }
}

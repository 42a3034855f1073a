//! Damaged images: refused with the reason that is true, and where someone made the checksum fit
//! again, refused or answered from, but never with a panic or a read outside.

use proptest::prelude::*;
use proptest::sample::Index;
use std::mem::offset_of;
use weir_abi::layout::{Extent, Header, SECTIONS, Section};
use weir_abi::{ABI_VERSION, Image, ImageError};
use weir_tests::forgery::{IMAGES, aligned, edit, put, sealed};
use weir_tests::inquiry::ask_everything;
use weir_tests::random::config;

fn reopen(bytes: &[u8]) -> Result<(), ImageError> {
    let bytes = aligned(bytes);
    Image::open(bytes.as_bytes()).map(|image| ask_everything(&image))
}

#[test]
fn whole_images_answer_everything() {
    let mut lengths = [0; SECTIONS];
    for bytes in IMAGES.iter() {
        reopen(bytes).unwrap();
        let bytes = aligned(bytes);
        let image = Image::open(bytes.as_bytes()).unwrap();
        for (total, extent) in lengths.iter_mut().zip(&image.header().sections) {
            *total += extent.len;
        }
    }
    // What no image has, no damage reaches.
    let empty: Vec<usize> = (0..SECTIONS).filter(|&section| lengths[section] == 0).collect();
    assert!(empty.is_empty(), "sections {empty:?} are empty in all images");
}

#[test]
fn a_flipped_byte_is_refused() {
    for bytes in IMAGES.iter() {
        let body = (size_of::<Header>()..bytes.len()).step_by(13);
        for at in (0..size_of::<Header>()).chain(body) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let right = match at {
                0..8 => matches!(reopen(&damaged), Err(ImageError::Magic)),
                8..12 => matches!(reopen(&damaged), Err(ImageError::Version { expected: ABI_VERSION, .. })),
                // The size decides where the checksum ends, so it is judged first.
                12..20 => {
                    matches!(reopen(&damaged), Err(ImageError::Header { .. } | ImageError::Truncated { .. }))
                }
                _ => matches!(reopen(&damaged), Err(ImageError::Checksum)),
            };
            assert!(right, "byte {at}: {:?}", reopen(&damaged));
        }
    }
}

#[test]
fn a_cut_off_image_is_refused() {
    for bytes in IMAGES.iter() {
        for len in (0..bytes.len()).step_by(64).chain([1, 7, 11, 12, bytes.len() - 8]) {
            let cut = aligned(&bytes[..len]);
            let cut = &cut.as_bytes()[..len];
            let error = Image::open(cut).unwrap_err();
            let right = match len {
                0..8 => error == ImageError::Magic,
                _ => matches!(error, ImageError::Truncated { bytes, needed } if bytes == len && needed > len),
            };
            assert!(right, "{len} bytes: {error:?}");
        }
        let mut longer = bytes.clone();
        longer.extend([0; 8]);
        assert_eq!(reopen(&longer), Err(ImageError::Header { field: "image_bytes" }));
    }
}

#[test]
fn a_foreign_version_is_refused_before_anything_else_is_read() {
    for version in [0, ABI_VERSION + 1, u32::MAX] {
        let mut bytes = IMAGES[0].clone();
        put(&mut bytes, 8, &version.to_le_bytes());
        let expected = ImageError::Version { found: version, expected: ABI_VERSION };
        assert_eq!(reopen(&sealed(bytes.clone())), Err(expected));
        bytes.truncate(16);
        assert_eq!(reopen(&bytes), Err(expected), "also where the rest of the layout is another");
    }
}

#[test]
fn misaligned_bytes_are_refused() {
    for offset in 1..8 {
        let mut shifted = vec![0; offset];
        shifted.extend(&IMAGES[0]);
        let shifted = aligned(&shifted);
        let end = offset + IMAGES[0].len();
        assert_eq!(Image::open(&shifted.as_bytes()[offset..end]).unwrap_err(), ImageError::Misaligned);
    }
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn a_forged_image_is_refused_or_answers(image in any::<Index>(), edits in prop::collection::vec(edit(), 1..4)) {
        let mut bytes = IMAGES[image.index(IMAGES.len())].clone();
        for edit in &edits {
            edit.apply(&mut bytes);
        }
        // Magic and size are put right, or hardly anything would get past them.
        put(&mut bytes, 0, &IMAGES[0][..16]);
        let len = u32::try_from(bytes.len()).unwrap();
        put(&mut bytes, offset_of!(Header, image_bytes), &len.to_le_bytes());
        let _ = reopen(&sealed(bytes));
    }
}

/// Sections without which there is no answer at all.
const NEEDED: [Section; 5] =
    [Section::V4Directory, Section::V4Ranges, Section::V6Keys, Section::Protocols, Section::Tables];

/// No random edit is that tidy.
#[test]
fn sections_that_are_empty_are_refused_or_answered_from() {
    for bytes in IMAGES.iter() {
        for section in 0..SECTIONS {
            let mut damaged = bytes.clone();
            put(&mut damaged, offset_of!(Header, sections) + section * size_of::<Extent>() + 4, &[0; 4]);
            let result = reopen(&sealed(damaged));
            let needed = NEEDED.iter().any(|&needed| needed as usize == section);
            assert!(!needed || result.is_err(), "section {section}: {result:?}");
        }
    }
}

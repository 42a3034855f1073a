//! Spoilt service images: each is refused whole, or is a valid image that answers every question without a panic.

use crate::random::{objects, question, text};
use crate::world::{self, World};
use proptest::prelude::*;
use proptest::sample::Index;
use std::mem::offset_of;
use weir_abi::services::layout::ServiceHeader;
use weir_abi::services::{Question, Scope, ServiceImage};
use weir_abi::{ImageError, checksum};
use weir_compiler::image::write::ImageBytes;
use weir_compiler::services::{KEEP_ALL, Previous};

fn aligned(bytes: &[u8]) -> ImageBytes {
    ImageBytes::read(bytes.len(), |to| {
        to.copy_from_slice(bytes);
        Ok::<(), ()>(())
    })
    .unwrap()
}

fn sealed(bytes: &mut [u8]) {
    let at = offset_of!(ServiceHeader, checksum);
    let sum = checksum(bytes);
    bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
}

/// Everything that can be asked.
fn ask_all(image: &ServiceImage<'_>) {
    for frontend in image.frontends() {
        for scope in [Scope::External, Scope::Internal] {
            let question = Question {
                address: frontend.address(),
                port: frontend.port(),
                protocol: frontend.protocol(),
                scope,
                client: "192.0.2.1".parse().unwrap(),
                client_port: 1,
            };
            let answer = image.ask(&question);
            std::hint::black_box((answer.choice, answer.backend, answer.previous));
        }
        std::hint::black_box((frontend.backends().count(), frontend.of(), frontend.table(Scope::External)));
    }
    for number in 0..u32::try_from(image.table_count()).unwrap() {
        let table = image.table(number).unwrap();
        std::hint::black_box((0..table.len()).filter_map(|slot| table.slot(slot)).count());
    }
    std::hint::black_box((image.services().count(), image.facts().count()));
}

/// An image with a past, so that every section has something in it.
fn image(objects: &[String]) -> ImageBytes {
    let now = World::read(&text(objects));
    let fewer: Vec<String> = objects
        .iter()
        .map(|object| object.replace("10.1.1.3", "10.1.1.99").replace("fd00:1::2", "fd00:1::98"))
        .collect();
    let before = World::read(&text(&fewer)).image(Some(0));
    let image = ServiceImage::open(before.as_bytes()).unwrap();
    now.compiled(Some(0), Some(Previous { image, keeps: KEEP_ALL })).bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn spoilt_images_are_refused_or_answer(
        objects in objects(),
        edits in prop::collection::vec((any::<Index>(), any::<u32>(), 0..4u8, any::<Index>()), 40),
        asked in question(),
    ) {
        let good = image(&objects);
        let good = good.as_bytes();
        prop_assert!(ServiceImage::open(good).is_ok());
        for (at, value, kind, other) in edits {
            let mut bytes = good.to_vec();
            let at = at.index(bytes.len() / 4) * 4;
            let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let now = match kind {
                0 => value,
                1 => word(&bytes, at).wrapping_add(value % 9).wrapping_sub(4),
                2 => word(&bytes, other.index(bytes.len() / 4) * 4),
                _ => word(&bytes, at) ^ 1 << (value % 32),
            };
            bytes[at..at + 4].copy_from_slice(&now.to_le_bytes());
            let changed = bytes != good;
            prop_assert!(!changed || ServiceImage::open(aligned(&bytes).as_bytes()).is_err());
            sealed(&mut bytes);
            let spoilt = aligned(&bytes);
            if let Ok(image) = ServiceImage::open(spoilt.as_bytes()) {
                ask_all(&image);
                std::hint::black_box(image.ask(&world::question(&asked)).choice);
            }
        }
    }

    #[test]
    fn cut_images_are_refused(objects in objects(), at in any::<Index>()) {
        let good = image(&objects);
        // Whole words, as an image is.
        let len = at.index(good.as_bytes().len() / 8) * 8;
        prop_assert!(ServiceImage::open(aligned(&good.as_bytes()[..len]).as_bytes()).is_err());
    }
}

#[test]
fn other_images_are_told_apart() {
    let good = image(&[]);
    let mut bytes = good.as_bytes().to_vec();
    bytes[8] = 99;
    let error = ServiceImage::open(aligned(&bytes).as_bytes()).unwrap_err();
    assert!(matches!(error, ImageError::Version { found: 99, .. }), "{error}");
    bytes[0] = b'X';
    assert_eq!(ServiceImage::open(aligned(&bytes).as_bytes()).unwrap_err(), ImageError::Magic);
    assert_eq!(weir_abi::Image::open(good.as_bytes()).unwrap_err(), ImageError::Magic);
}

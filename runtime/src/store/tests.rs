//! What is kept comes back, whatever became of it.

use super::*;
use crate::town::Town;

fn registrations() -> Registrations {
    let mut registrations = Registrations::default();
    registrations.register("shop/web", "veth1").unwrap();
    registrations
}

/// A folder in which everything is kept.
fn kept(town: &Town) -> (PathBuf, Stored) {
    let snapshot = town.snapshot();
    let folder = town.path("state");
    let store = Store::open(&folder).unwrap();
    fs::copy(town.path("identities.json"), store.identities()).unwrap();
    store.keep_state(Some(snapshot.legend.checksum), Some(&snapshot.roster), &registrations()).unwrap();
    store.keep_image(&snapshot.image).unwrap();
    let roster = Some((*snapshot.roster).clone());
    (folder, Stored { image: Some(snapshot.image), roster, registrations: registrations() })
}

#[test]
fn what_was_kept_comes_back() {
    let town = Town::new();
    let (folder, stored) = kept(&town);
    let store = Store::open(&folder).unwrap();
    assert_eq!(store.load(), (stored, vec![]));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn who_is_who_under_another_image_is_left_out() {
    let town = Town::new();
    let (folder, stored) = kept(&town);
    let store = Store::open(&folder).unwrap();
    store.keep_state(Some(7), stored.roster.as_ref(), &registrations()).unwrap();
    assert_eq!(store.load(), (Stored { roster: None, ..stored }, vec![]));
}

#[test]
fn a_new_folder_holds_nothing() {
    let town = Town::new();
    let store = Store::open(&town.path("a/b")).unwrap();
    assert_eq!(store.load(), (Stored::default(), vec![]));
}

#[test]
fn one_daemon_at_a_time_has_it() {
    let town = Town::new();
    let folder = town.path("state");
    let store = Store::open(&folder).unwrap();
    assert!(matches!(Store::open(&folder), Err(StoreError::InUse { .. })));
    assert!(matches!(Store::remove(&folder), Err(StoreError::InUse { .. })));
    drop(store);
    assert!(Store::open(&folder).is_ok());
}

#[test]
fn a_damaged_file_is_told_and_counts_as_missing() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 5] = [
        ("cut off", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("empty", |_| vec![]),
        ("other bytes", |bytes| bytes.iter().map(|byte| byte ^ 0x5A).collect()),
        ("one bit", |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x80;
            bytes
        }),
        ("of another version", |bytes| {
            String::from_utf8_lossy(&bytes).replacen("\"version\":2", "\"version\":9", 1).into_bytes()
        }),
    ];
    for name in [IMAGE, STATE, IDENTITIES] {
        for (how, damage) in damages {
            let town = Town::new();
            let (folder, whole) = kept(&town);
            let path = folder.join(name);
            let bytes = fs::read(&path).unwrap();
            let damaged = damage(bytes.clone());
            if damaged == bytes {
                continue;
            }
            fs::write(&path, damaged).unwrap();
            let (stored, findings) = Store::open(&folder).unwrap().load();
            let what = format!("{name}, {how}: {findings:?}");
            assert_eq!(findings.len(), 1, "{what}");
            assert!(findings[0].contains("is left out"), "{what}");
            assert_eq!(stored.image.is_some(), name != IMAGE, "{what}");
            assert_eq!(stored.roster.is_some(), name != STATE, "{what}");
            if name == IDENTITIES {
                assert_eq!(stored, whole, "{what}");
                assert!(!path.exists() && folder.join("identities.json.damaged").exists(), "{what}");
            }
        }
    }
}

#[test]
fn no_file_at_all_in_its_place_is_damage_too() {
    let town = Town::new();
    let folder = town.path("state");
    let store = Store::open(&folder).unwrap();
    for name in [IMAGE, STATE] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let (stored, findings) = store.load();
    assert_eq!((stored, findings.len()), (Stored::default(), 2));
}

#[test]
fn removing_takes_what_is_ours() {
    let town = Town::new();
    let (folder, _) = kept(&town);
    fs::write(folder.join("theirs"), "").unwrap();
    Store::remove(&folder).unwrap();
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["theirs"]);
    fs::remove_file(folder.join("theirs")).unwrap();
    Store::remove(&folder).unwrap();
    assert!(!folder.exists());
    Store::remove(&folder).unwrap();
}

#[test]
fn what_a_dead_writer_left_is_removed() {
    let town = Town::new();
    let folder = town.path("state");
    drop(Store::open(&folder).unwrap());
    fs::write(folder.join(".weir-abc"), "half").unwrap();
    drop(Store::open(&folder).unwrap());
    assert!(!folder.join(".weir-abc").exists());
}

#[test]
fn service_images_are_kept_before_and_after_they_come_into_force() {
    let town = Town::new();
    let project = weir_project::Project::read(&[], &[town.path("source")], &mut |_| ()).unwrap();
    let image = |node| project.compile_services(node, None).unwrap().bytes.as_bytes().to_vec();
    let (one, other) = (image(None), image(Some(0)));
    assert_ne!(one, other);
    let store = Store::open(&town.path("state")).unwrap();
    let kept = || -> Vec<Vec<u8>> { store.load_services().0.iter().map(|image| image.to_vec()).collect() };
    assert!(kept().is_empty());
    store.keep_next_services(&one).unwrap();
    assert_eq!(kept(), std::slice::from_ref(&one));
    store.services_in_force().unwrap();
    store.keep_next_services(&other).unwrap();
    assert_eq!(kept(), [one.clone(), other.clone()]);
    // What is damaged is told and left out.
    fs::write(town.path("state/services.weir"), &one[..one.len() - 1]).unwrap();
    let (images, findings) = store.load_services();
    assert_eq!((images.len(), findings.len()), (1, 1));
    assert!(findings[0].contains("services.weir is left out"), "{findings:?}");
    store.forget_services().unwrap();
    assert!(kept().is_empty());
    store.forget_services().unwrap();
    store.keep_next_services(&one).unwrap();
    drop(store);
    Store::remove(&town.path("state")).unwrap();
    assert!(!town.path("state").exists());
}

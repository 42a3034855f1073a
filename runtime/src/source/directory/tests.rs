//! Changes as they happen to directories of manifests, on a real file system.

use super::*;
use std::io::Write;
use std::os::unix::fs::symlink;
use tempfile::TempDir;
use tokio::time::Instant;

/// Longer than any change takes to be told, shorter than a slow look.
const SOON: Duration = Duration::from_secs(10);

async fn is_told(watch: &mut DirectoryWatch) -> bool {
    timeout(SOON, watch.changed()).await.is_ok()
}

/// Whether it stays quiet for as long as a change would need.
async fn is_quiet(watch: &mut DirectoryWatch) -> bool {
    timeout(Duration::from_millis(500), watch.changed()).await.is_err()
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("source")).unwrap();
    fs::write(folder.path().join("source/a.yaml"), "a: 1\n").unwrap();
    folder
}

#[tokio::test]
async fn files_written_replaced_and_removed_are_changes() {
    let folder = folder();
    let path = folder.path().join("source");
    let mut watch = DirectoryWatch::new(&path);
    fs::write(path.join("a.yaml"), "a: 2\n").unwrap();
    assert!(is_told(&mut watch).await);
    fs::write(folder.path().join("new"), "a: 3\n").unwrap();
    fs::rename(folder.path().join("new"), path.join("a.yaml")).unwrap();
    assert!(is_told(&mut watch).await);
    fs::create_dir(path.join("below")).unwrap();
    assert!(is_told(&mut watch).await);
    fs::write(path.join("below/b.yaml"), "b: 1\n").unwrap();
    assert!(is_told(&mut watch).await);
    fs::remove_file(path.join("a.yaml")).unwrap();
    assert!(is_told(&mut watch).await);
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test]
async fn a_file_is_told_when_it_is_whole() {
    let folder = folder();
    let path = folder.path().join("source");
    let mut watch = DirectoryWatch::new(&path);
    let mut half = fs::File::create(path.join("a.yaml")).unwrap();
    assert!(is_quiet(&mut watch).await);
    half.write_all(b"a: 2\n").unwrap();
    assert!(is_quiet(&mut watch).await);
    drop(half);
    assert!(is_told(&mut watch).await);
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test]
async fn reading_and_neighbours_are_no_changes() {
    let folder = folder();
    let path = folder.path().join("source");
    let mut watch = DirectoryWatch::new(&path);
    fs::read(path.join("a.yaml")).unwrap();
    fs::write(folder.path().join("neighbour"), "x").unwrap();
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test]
async fn many_changes_are_one() {
    let folder = folder();
    let path = folder.path().join("source");
    let mut watch = DirectoryWatch::new(&path);
    for number in 0..200 {
        fs::write(path.join(format!("{number}.yaml")), "a: 1\n").unwrap();
    }
    let began = Instant::now();
    assert!(is_told(&mut watch).await);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(is_quiet(&mut watch).await);
}

/// As kubelet does it: files lead through `..data`, which is replaced by a rename.
#[tokio::test]
async fn a_config_map_that_is_swapped_is_a_change_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source");
    let version = |number: u32| {
        fs::create_dir_all(path.join(format!("..{number}"))).unwrap();
        fs::write(path.join(format!("..{number}/a.yaml")), format!("a: {number}\n")).unwrap();
        symlink(format!("..{number}"), path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    };
    version(1);
    symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
    let mut watch = DirectoryWatch::new(&path);
    for number in 2..5 {
        version(number);
        fs::remove_dir_all(path.join(format!("..{}", number - 1))).unwrap();
        assert!(is_told(&mut watch).await, "version {number}");
        assert_eq!(fs::read_to_string(path.join("a.yaml")).unwrap(), format!("a: {number}\n"));
    }
}

#[tokio::test]
async fn a_directory_that_is_a_link_may_lead_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["one", "two"] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("a.yaml"), version).unwrap();
    }
    let path = folder.path().join("current");
    symlink("one", &path).unwrap();
    let mut watch = DirectoryWatch::new(&path);
    symlink("two", folder.path().join("next")).unwrap();
    fs::rename(folder.path().join("next"), &path).unwrap();
    assert!(is_told(&mut watch).await);
    // And then the new one is what is watched.
    fs::write(folder.path().join("two/a.yaml"), "changed").unwrap();
    assert!(is_told(&mut watch).await);
}

#[tokio::test]
async fn a_directory_may_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source");
    let mut watch = DirectoryWatch::new(&path);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), "a: 1\n").unwrap();
    assert!(is_told(&mut watch).await);
}

#[test]
fn a_look_sees_what_is_behind_links_and_not_what_is_hidden() {
    let folder = folder();
    let path = folder.path().join("source");
    fs::write(folder.path().join("elsewhere"), "1").unwrap();
    symlink("../elsewhere", path.join("b.yaml")).unwrap();
    let first = look(&path);
    fs::write(path.join(".hidden"), "x").unwrap();
    assert_eq!(look(&path), first);
    fs::write(folder.path().join("elsewhere"), "12").unwrap();
    assert_ne!(look(&path), first);
    // A link to itself ends somewhere.
    symlink(".", path.join("loop")).unwrap();
    look(&path);
}

use super::*;
use expect_test::expect;
use std::io::Read;

fn layer() -> Layer {
    let mut layer = Layer::new();
    layer.file("/bin/program", 0o755, b"program".to_vec());
    layer.link("usr/bin/other", "/bin/program").directory("/tmp", 0o1777);
    layer
}

/// Each entry's kind, mode, path and content or target.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 0));
        let (kind, mode) = (header.entry_type(), header.mode().unwrap());
        let path = entry.path().unwrap().display().to_string();
        let target = entry.link_name().unwrap().map(|target| target.display().to_string());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let content = target.unwrap_or(match path.ends_with(".tar") {
            true => listing(&bytes).join("\n  "),
            false => String::from_utf8(bytes).unwrap(),
        });
        format!("{kind:?} {mode:o} {path} {content}").trim_end().to_owned()
    });
    entries.collect()
}

#[test]
fn an_archive_has_one_layer_for_all_its_images() {
    let image = |name: &str| Image {
        name: format!("registry.test/{name}:1"),
        entrypoint: vec![format!("/bin/{name}")],
        environment: [("A".to_owned(), "b".to_owned())].into(),
        ..Image::default()
    };
    let mut archive = Vec::new();
    write_archive(&mut archive, &layer(), &[image("program"), image("other")]).unwrap();
    let text = listing(&archive).join("\n").replace(architecture(), "ARCH");
    expect![[r#""#]].assert_eq(&text);
    // Every name that one of them says is that of a file, and its content's sum.
    let entries: Vec<(String, Vec<u8>)> = tar::Archive::new(archive.as_slice())
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        })
        .collect();
    let of = |path: &str| &entries.iter().find(|(name, _)| name == path).unwrap().1;
    let manifest: Value = serde_json::from_slice(of("manifest.json")).unwrap();
    for image in manifest.as_array().unwrap() {
        let (path, layer) = (&image["Config"], &image["Layers"][0]);
        let (path, layer) = (path.as_str().unwrap(), layer.as_str().unwrap());
        assert_eq!(path, format!("{}.json", hex(of(path))));
        let configuration: Value = serde_json::from_slice(of(path)).unwrap();
        let digest = format!("sha256:{}", hex(of(layer)));
        assert_eq!(configuration["rootfs"]["diff_ids"][0], digest);
    }
}

#[test]
fn the_order_in_which_files_are_added_is_nothing() {
    let mut other = Layer::new();
    other.directory("tmp", 0o1777).link("/usr/bin/other", "/bin/program");
    other.file("bin/program", 0o755, b"program".to_vec());
    assert_eq!(other.to_tar().unwrap(), layer().to_tar().unwrap());
}

#[test]
fn nothing_is_in_a_file() {
    let mut wrong = layer();
    wrong.file("/bin/program/more", 0o644, Vec::new());
    let message = write_archive(Vec::new(), &wrong, &[]).unwrap_err().to_string();
    assert_eq!(
        message,
        "bin/program/more is in bin/program, which is a file or a link in the same image"
    );
}

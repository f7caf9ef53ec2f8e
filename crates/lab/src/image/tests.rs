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

/// The text with a number in place of each SHA-256 sum, for they differ between architectures.
fn numbered(text: &str) -> String {
    let is_sum = |word: &&str| word.len() == 64 && word.bytes().all(|it| it.is_ascii_hexdigit());
    let mut sums: Vec<&str> = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_sum) {
        if !sums.contains(&word) {
            sums.push(word);
        }
    }
    let number = |text: String, (number, sum): (usize, &&str)| {
        text.replace(*sum, &format!("SUM-{}", number + 1))
    };
    sums.iter().enumerate().fold(text.to_owned(), number)
}

#[test]
fn an_archive_has_one_layer_for_all_its_images() {
    let image = |name: &str, program: &str| Image {
        name: format!("registry.test/{name}:1"),
        entrypoint: vec![program.to_owned()],
        environment: [("A".to_owned(), "b".to_owned())].into(),
        ..Image::default()
    };
    let (program, other) = ("/bin/program", "/usr/bin/other");
    let images = [image("one", program), image("two", other), image("three", program)];
    let mut archive = Vec::new();
    write_archive(&mut archive, &layer(), &images).unwrap();
    let text = listing(&archive).join("\n").replace(architecture(), "ARCH");
    expect![[r#"
        Regular 644 SUM-1/layer.tar Directory 755 bin
          Regular 755 bin/program program
          Directory 1777 tmp
          Directory 755 usr
          Directory 755 usr/bin
          Symlink 777 usr/bin/other /bin/program
        Regular 644 SUM-2.json {"architecture":"ARCH","config":{"Cmd":[],"Entrypoint":["/bin/program"],"Env":["A=b","PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"User":"","WorkingDir":"/"},"created":"1970-01-01T00:00:00Z","history":[{"created":"1970-01-01T00:00:00Z"}],"os":"linux","rootfs":{"diff_ids":["sha256:SUM-1"],"type":"layers"}}
        Regular 644 SUM-3.json {"architecture":"ARCH","config":{"Cmd":[],"Entrypoint":["/usr/bin/other"],"Env":["A=b","PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"User":"","WorkingDir":"/"},"created":"1970-01-01T00:00:00Z","history":[{"created":"1970-01-01T00:00:00Z"}],"os":"linux","rootfs":{"diff_ids":["sha256:SUM-1"],"type":"layers"}}
        Regular 644 manifest.json [{"Config":"SUM-2.json","Layers":["SUM-1/layer.tar"],"RepoTags":["registry.test/one:1"]},{"Config":"SUM-3.json","Layers":["SUM-1/layer.tar"],"RepoTags":["registry.test/two:1"]},{"Config":"SUM-2.json","Layers":["SUM-1/layer.tar"],"RepoTags":["registry.test/three:1"]}]"#]].assert_eq(&numbered(&text));
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

use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Each file's permissions and content, or what it is a link to, by path.
type Tree = BTreeMap<String, String>;

fn tree(directory: &Path, root: &Path, into: &mut Tree) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let there = fs::symlink_metadata(&path).unwrap();
        let mode = there.permissions().mode() & 0o7777;
        if there.is_symlink() {
            into.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else if there.is_dir() {
            into.insert(name, format!("{mode:o}"));
            tree(&path, root, into);
        } else {
            into.insert(name, format!("{mode:o} {}", fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The Containerfile's script and the archive's layer, with the same program and plugins.
#[test]
fn both_ways_make_the_same_image() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::write(at("program"), "the program").unwrap();
    fs::create_dir(at("plugins")).unwrap();
    fs::write(at("plugins/.built-from"), "").unwrap();
    let empty = layer(&at("program"), &at("plugins")).unwrap_err().to_string();
    assert!(empty.contains("scripts/plugins"), "{empty}");
    for plugin in ["portmap", "tuning"] {
        fs::write(at("plugins").join(plugin), plugin).unwrap();
    }
    write(&at("images.tar"), &at("program"), &at("plugins"), "registry.test").unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut script = Command::new(repository.join("images/root"));
    script.args([at("program"), at("plugins"), at("root")]);
    assert!(script.status().unwrap().success());
    let mut layers = 0;
    let mut archive = tar::Archive::new(File::open(at("images.tar")).unwrap());
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap().ends_with("layer.tar") {
            let mut layer = tar::Archive::new(entry);
            layer.set_preserve_permissions(true);
            layer.unpack(at("layer")).unwrap();
            layers += 1;
        }
    }
    assert_eq!(layers, 1);
    let (mut of_script, mut of_layer) = (Tree::new(), Tree::new());
    tree(&at("root"), &at("root"), &mut of_script);
    tree(&at("layer"), &at("layer"), &mut of_layer);
    assert_eq!(of_layer, of_script);
    assert_eq!(of_layer["opt/cni/bin/install"], "-> /usr/bin/calico");
    assert_eq!(of_layer["opt/cni/bin/portmap"], "755 portmap");
}

#[test]
fn the_containerfile_starts_what_the_images_start() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/Containerfile");
    let text = fs::read_to_string(path).unwrap();
    for image in images("registry.test") {
        let name = image.name.trim_start_matches("registry.test/");
        let name = name.split(':').next().unwrap();
        let stage = text.split(&format!("FROM base AS {name}\n")).nth(1).expect(name);
        let stage = stage.split("\nFROM").next().unwrap();
        let said = |word: &str| {
            let line = stage.lines().find_map(|line| line.strip_prefix(word));
            line.map(|list| serde_json::from_str::<Vec<String>>(list).unwrap()).unwrap_or_default()
        };
        let user = stage.lines().find_map(|line| line.strip_prefix("USER ")).unwrap_or_default();
        assert_eq!(
            (said("ENTRYPOINT "), said("CMD "), user),
            (image.entrypoint, image.command, image.user.as_str()),
            "{name}"
        );
    }
}

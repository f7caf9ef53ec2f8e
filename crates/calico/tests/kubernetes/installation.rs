//! Clusters with our manifest, as a user installs it.

use crate::cluster::{Cluster, LIMIT, calico, repository};
use std::path::PathBuf;
use std::time::Instant;

pub(crate) const MANIFEST: &str = include_str!("../../../../manifests/calico.yaml");

/// The archive of the images of the binary under test.
pub(crate) struct Images(PathBuf);

impl Images {
    fn new(test: &str) -> Images {
        let archive = format!("calico-images-{test}-{}.tar", std::process::id());
        let archive = std::env::temp_dir().join(archive);
        let mut write = calico();
        write.args(["lab", "image"]).arg(&archive);
        write.arg("--plugins").arg(repository().join("target/plugins"));
        let output = write.output().expect("calico lab image starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        Images(archive)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of letters")
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Two nodes with the manifest; returns when they are ready.
pub(crate) fn installed(test: &str, manifest: &str) -> Cluster {
    installed_on(test, manifest, &[])
}

/// The same, with more arguments for `lab up --kubernetes`.
pub(crate) fn installed_on(test: &str, manifest: &str, more: &[&str]) -> Cluster {
    let images = Images::new(test);
    let arguments = ["--nodes", "2", "--no-cni", "--audit", "--image", images.path()];
    let begin = Instant::now();
    let mut cluster = Cluster::up(test, &[&arguments[..], more].concat());
    cluster.keep(images);
    let up = begin.elapsed();
    cluster.apply(manifest);
    await_calico(&cluster);
    cluster.kubectl("wait --for=condition=Ready node --all --timeout=60s");
    let ready = begin.elapsed();
    println!("lab up: {:.1} s; nodes Ready: {:.1} s", up.as_secs_f32(), ready.as_secs_f32());
    cluster
}

/// Waits until calico-node is ready on both nodes.
pub(crate) fn await_calico(cluster: &Cluster) {
    cluster.within(LIMIT * 2, "calico-node is ready on both nodes", |cluster| {
        let ready = "get daemonset -n kube-system calico-node -o jsonpath={.status.numberReady}";
        cluster.kubectl(ready) == "2"
    });
}

/// Waits until calico-kube-controllers, which is a pod as any other, is ready.
pub(crate) fn await_controllers(cluster: &Cluster) {
    let deployment = "-n kube-system deployment/calico-kube-controllers";
    cluster.kubectl(&format!("rollout status {deployment} --timeout=120s"));
}

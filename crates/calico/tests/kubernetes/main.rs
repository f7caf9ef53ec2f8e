//! Labs that are Kubernetes clusters: kube-apiserver, kubelets, containerd, kube-proxy, kubectl, all
//! as others built them. `make test-kubernetes` runs them, as root.

mod cluster;
mod controllers;
mod lifecycle;
mod manifest;
mod pods;

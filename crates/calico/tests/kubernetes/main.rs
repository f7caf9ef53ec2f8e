//! Labs that are Kubernetes clusters: kube-apiserver, kubelets, containerd, kube-proxy, kubectl, all
//! as others built them. `make test-kubernetes` runs them, as root.

mod annotations;
mod audit;
mod cluster;
mod connections;
mod controllers;
mod installation;
mod kills;
mod lifecycle;
mod manifest;
mod pods;
mod workloads;
mod works;

#!/usr/bin/env bash
# What `capi-llm bootstrap --plane kind --without-rancher --webhook-certs self` does, as such bootstraps
# are scripted: one step after the other, with kind, kubectl and sleeping polls. Prints each step's seconds.
#
#   sequential.sh NAME NODE_IMAGE COMPONENTS CERTIFICATES CLASS IMAGE…
set -euo pipefail
name=$1 node=$2 components=$3 certificates=$4 class=$5
shift 5
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export KUBECONFIG=$folder/kubeconfig

step() {
  local began=$EPOCHREALTIME what=$1
  shift
  "$@" >&2
  awk -v a="$began" -v b="$EPOCHREALTIME" -v what="$what" 'BEGIN { printf "%s\t%.1f\n", what, b - a }'
}

cluster() {
  cat >"$folder/kind.yaml" <<EOF
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraMounts:
      - hostPath: /var/run/docker.sock
        containerPath: /var/run/docker.sock
EOF
  kind create cluster --name "$name" --image "$node" --config "$folder/kind.yaml" --wait 5m
}

load() {
  for image in "$@"; do
    kind load docker-image --name "$name" "$image"
  done
}

# The components with their variables filled in and webhooks that trust a certificate of our own.
prepare() {
  "$certificates" "$components" "$folder"
}

provider() {
  kubectl apply --server-side --force-conflicts -f "$folder/$1.yaml"
  kubectl wait --for=condition=Available --timeout=5m -n "$2" deployment --all
  # Available is not enough: the webhooks answer some seconds later.
  sleep 5
}

class() {
  until kubectl apply --server-side -f "$class"; do
    sleep 5
  done
}

step "kind cluster" cluster
step "images into the node" load "$@"
step "certificates" prepare
step "Cluster API core" provider core capi-system
step "kubeadm bootstrap provider" provider bootstrap capi-kubeadm-bootstrap-system
step "kubeadm control-plane provider" provider control-plane capi-kubeadm-control-plane-system
step "Docker provider" provider docker capd-system
step "ClusterClass" class

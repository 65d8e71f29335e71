//go:build tools

// Package tools pins the programs of the local control plane, so that `go build` finds them in
// this module's go.mod and go.sum. It is never built itself.
package tools

import (
	_ "github.com/google/go-containerregistry/cmd/registry"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "sigs.k8s.io/kwok/cmd/kwok"
)

// Pulls an image into a folder by containerd's own resolver, configured by hosts.toml files as containerd is.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// links is what indexes and manifests point to.
type links struct {
	Manifests []ocispec.Descriptor `json:"manifests"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
}

func main() {
	hosts := flag.String("hosts", "", "folder of HOST/hosts.toml files, /etc/containerd/certs.d on a node")
	out := flag.String("out", "", "folder for the blobs, named by their digests' hex")
	flag.Parse()
	if err := pull(context.Background(), *hosts, flag.Arg(0), *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pull(ctx context.Context, hosts, reference, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	options := config.HostOptions{HostDir: config.HostDirFromRoot(hosts)}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, options)})
	name, descriptor, err := resolver.Resolve(ctx, reference)
	if err != nil {
		return err
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return err
	}
	if err := fetchAll(ctx, fetcher, descriptor, out); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{"name": name, "digest": descriptor.Digest.String()})
}

func fetchAll(ctx context.Context, fetcher remotes.Fetcher, descriptor ocispec.Descriptor, out string) error {
	content, err := fetch(ctx, fetcher, descriptor)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, descriptor.Digest.Encoded()), content, 0o644); err != nil {
		return err
	}
	var found links
	if descriptor.MediaType == ocispec.MediaTypeImageIndex || descriptor.MediaType == ocispec.MediaTypeImageManifest {
		if err := json.Unmarshal(content, &found); err != nil {
			return err
		}
	}
	next := append(found.Manifests, found.Layers...)
	if found.Config != nil {
		next = append(next, *found.Config)
	}
	for _, child := range next {
		if err := fetchAll(ctx, fetcher, child, out); err != nil {
			return err
		}
	}
	return nil
}

func fetch(ctx context.Context, fetcher remotes.Fetcher, descriptor ocispec.Descriptor) ([]byte, error) {
	body, err := fetcher.Fetch(ctx, descriptor)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	content, err := io.ReadAll(io.LimitReader(body, descriptor.Size+1))
	if err != nil {
		return nil, err
	}
	if descriptor.Digest.Algorithm().FromBytes(content) != descriptor.Digest {
		return nil, fmt.Errorf("%s: other content came", descriptor.Digest)
	}
	return content, nil
}

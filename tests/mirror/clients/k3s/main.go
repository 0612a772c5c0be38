// Pulls an image into a folder as k3s and RKE2 do what they pull themselves: by a registries.yaml.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/rancher/wharfie/pkg/registries"
)

func main() {
	file := flag.String("registries", "", "registries.yaml, /etc/rancher/k3s/registries.yaml on a node")
	out := flag.String("out", "", "folder for the blobs, named by their digests' hex")
	flag.Parse()
	if err := pull(*file, flag.Arg(0), *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pull(file, reference, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	known, err := registries.GetPrivateRegistries(file)
	if err != nil {
		return err
	}
	parsed, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	image, err := known.Image(parsed)
	if err != nil {
		return err
	}
	digest, err := write(image, out)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{"digest": digest.String()})
}

// write keeps the manifest, the config and the layers as they came; each was checked on its way.
func write(image v1.Image, out string) (v1.Hash, error) {
	digest, err := image.Digest()
	if err != nil {
		return digest, err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return digest, err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return digest, err
	}
	named, err := image.ConfigName()
	if err != nil {
		return digest, err
	}
	layers, err := image.Layers()
	if err != nil {
		return digest, err
	}
	for hash, content := range map[v1.Hash][]byte{digest: manifest, named: config} {
		if err := os.WriteFile(filepath.Join(out, hash.Hex), content, 0o644); err != nil {
			return digest, err
		}
	}
	for _, layer := range layers {
		if err := writeLayer(layer, out); err != nil {
			return digest, err
		}
	}
	return digest, nil
}

func writeLayer(layer v1.Layer, out string) error {
	hash, err := layer.Digest()
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	file, err := os.Create(filepath.Join(out, hash.Hex))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, content)
	return err
}

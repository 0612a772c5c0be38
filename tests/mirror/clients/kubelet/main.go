// Pulls an image as a kubelet does: it asks the node's containerd by CRI, and leaves it to that where to look.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	socket := flag.String("socket", "", "containerd's")
	flag.Parse()
	if err := pull(*socket, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pull(socket, reference string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	images := runtime.NewImageServiceClient(connection)
	wanted := &runtime.ImageSpec{Image: reference}
	if _, err := images.PullImage(ctx, &runtime.PullImageRequest{Image: wanted}, grpc.WaitForReady(true)); err != nil {
		return err
	}
	found, err := images.ImageStatus(ctx, &runtime.ImageStatusRequest{Image: wanted})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found.GetImage().GetRepoDigests())
}

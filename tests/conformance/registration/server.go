package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-attestation/attest"
	"github.com/gorilla/websocket"
)

const reply = `elemental:
    registration:
        url: http://peer/elemental/registration/tok
    system-agent:
        url: http://peer/k8s/clusters/local
        token: %s
        secret-name: m-peer
        secret-namespace: fleet-default
cloud-config:
    users:
        raw: [91, 93]
        object: null
`

var upgrader = websocket.Upgrader{HandshakeTimeout: 5 * time.Second}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	certificate := flags.String("tls-cert", "", "a PEM file")
	key := flags.String("tls-key", "", "a PEM file")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("{\"ready\": true, \"listen\": %q}\n", listener.Addr())
	server := &http.Server{Handler: http.HandlerFunc(answer), ReadHeaderTimeout: 10 * time.Second}
	if *certificate != "" {
		return server.ServeTLS(listener, *certificate, *key)
	}
	return server.Serve(listener)
}

func answer(writer http.ResponseWriter, request *http.Request) {
	connection, err := upgrader.Upgrade(writer, request, nil)
	if err != nil {
		return
	}
	defer connection.Close()
	deadline := time.Now().Add(10 * time.Second)
	_ = connection.SetReadDeadline(deadline)
	_ = connection.SetWriteDeadline(deadline)
	hash, err := authenticate(connection, request.Header.Get("Authorization"))
	if err != nil {
		return
	}
	if connection.WriteMessage(websocket.BinaryMessage, []byte{ready}) == nil {
		converse(connection, hash)
	}
}

func authenticate(connection *websocket.Conn, header string) (string, error) {
	token, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header, "Bearer TPM"))
	if err != nil {
		return "", err
	}
	var data attestationData
	if err := json.Unmarshal(token, &data); err != nil {
		return "", err
	}
	block, _ := pem.Decode(data.EK)
	if block == nil || data.AK == nil {
		return "", fmt.Errorf("incomplete attestation data")
	}
	public, err := endorsementKey(block)
	if err != nil {
		return "", err
	}
	parameters := attest.ActivationParameters{TPMVersion: attest.TPMVersion20, EK: public, AK: *data.AK}
	secret, credential, err := parameters.Generate()
	if err != nil {
		return "", err
	}
	if err := connection.WriteJSON(challengeMessage{EC: credential}); err != nil {
		return "", err
	}
	var received challengeAnswer
	if err := connection.ReadJSON(&received); err != nil {
		return "", err
	}
	if subtle.ConstantTimeCompare(secret, received.Secret) != 1 {
		return "", fmt.Errorf("wrong answer")
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	return fmt.Sprintf("%x", sha256.Sum256(der)), err
}

func endorsementKey(block *pem.Block) (any, error) {
	if block.Type == "CERTIFICATE" {
		certificate, err := attest.ParseEKCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

func converse(connection *websocket.Conn, hash string) {
	for {
		kind, payload, err := read(connection)
		if err != nil {
			return
		}
		answer := []byte{ready}
		switch kind {
		case version:
			if len(payload) != 1 || payload[0] < 5 {
				return
			}
			answer = []byte{version, min(payload[0], protocolVersion)}
		case get:
			answer = append([]byte{config}, fmt.Sprintf(reply, hash)...)
		case update:
		default:
			var decoded map[string]any
			if json.NewDecoder(bytes.NewReader(payload)).Decode(&decoded) != nil {
				return
			}
		}
		if connection.WriteMessage(websocket.BinaryMessage, answer) != nil || kind == get {
			return
		}
	}
}

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
	highest := flags.Int("version", protocolVersion, "the highest protocol version to speak")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("{\"ready\": true, \"listen\": %q}\n", listener.Addr())
	server := &http.Server{Handler: answerer(byte(*highest)), ReadHeaderTimeout: 10 * time.Second}
	if *certificate != "" {
		return server.ServeTLS(listener, *certificate, *key)
	}
	return server.Serve(listener)
}

func answerer(highest byte) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) { answer(writer, request, highest) }
}

func answer(writer http.ResponseWriter, request *http.Request, highest byte) {
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
		converse(connection, hash, highest)
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

// heard is one message as it was understood, printed for the test when the conversation is over.
type heard struct {
	Kind byte           `json:"kind"`
	Data map[string]any `json:"data,omitempty"`
}

// converse drops the connection where Elemental's server does: on JSON that is not of the message's shape.
func converse(connection *websocket.Conn, hash string, highest byte) {
	messages := []heard{}
	negotiated := highest
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
			negotiated = min(payload[0], highest)
			answer = []byte{version, negotiated}
		case get:
			answer = []byte(fmt.Sprintf(reply, hash))
			if negotiated >= 7 {
				answer = append([]byte{config}, answer...)
			}
		case update:
		case labels, annotations:
			var decoded map[string]string
			if json.NewDecoder(bytes.NewReader(payload)).Decode(&decoded) != nil {
				return
			}
		case smbios, systemData, systemDataV2:
			var decoded map[string]any
			if json.NewDecoder(bytes.NewReader(payload)).Decode(&decoded) != nil {
				return
			}
			messages = append(messages, heard{Kind: kind, Data: decoded})
		default:
			return
		}
		if connection.WriteMessage(websocket.BinaryMessage, answer) != nil {
			return
		}
		if kind == get {
			line, _ := json.Marshal(messages)
			fmt.Println(string(line))
			return
		}
	}
}

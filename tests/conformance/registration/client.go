package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm-tools/simulator"
	"github.com/gorilla/websocket"
)

// attestationData is the token inside the Authorization header, as encoding/json writes it.
type attestationData struct {
	EK []byte
	AK *attest.AttestationParameters
}

type challengeMessage struct {
	EC *attest.EncryptedCredential
}

type challengeAnswer struct {
	Secret []byte
}

type emulated struct{ io.ReadWriteCloser }

func (emulated) MeasurementLog() ([]byte, error) { return nil, nil }

func openTPM(seed int64) (*attest.TPM, error) {
	channel, err := simulator.GetWithFixedSeedInsecure(seed)
	if err != nil {
		return nil, err
	}
	return attest.OpenTPM(&attest.OpenConfig{TPMVersion: attest.TPMVersion20, CommandChannel: emulated{channel}})
}

func register(arguments []string) error {
	flags := flag.NewFlagSet("register", flag.ExitOnError)
	url := flags.String("url", "", "the registration URL")
	caCert := flags.String("ca-cert", "", "a PEM file")
	seed := flags.Int64("seed", 1, "of the emulated TPM")
	updating := flags.Bool("update", false, "send Update")
	highest := flags.Int("version", protocolVersion, "the protocol version to offer")
	wrong := flags.Bool("wrong-answer", false, "answer the challenge with another secret")
	padding := flags.Int("padding", 0, "bytes of system data, to force fragments")
	factsFile := flags.String("facts", "", "a JSON file: smbios, inventory, system-data; sent as the version has it")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	facts := map[string]map[string]any{
		"system-data": {"Runtime": map[string]string{"Hostname": "peer"}, "Padding": strings.Repeat("x", *padding)},
	}
	if *factsFile != "" {
		content, err := os.ReadFile(*factsFile)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(content, &facts); err != nil {
			return err
		}
	}
	tpm, err := openTPM(*seed)
	if err != nil {
		return err
	}
	defer tpm.Close()
	token, hash, key, err := attestKey(tpm)
	if err != nil {
		return err
	}
	defer key.Close(tpm)

	connection, err := dial(*url, *caCert, token)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := answerChallenge(connection, tpm, key, *wrong); err != nil {
		return err
	}
	if err := expectReady(connection); err != nil {
		return fmt.Errorf("authentication: %w", err)
	}
	if err := write(connection, version, []byte{byte(*highest)}); err != nil {
		return err
	}
	kind, payload, err := read(connection)
	if err != nil {
		return err
	}
	if kind != version || len(payload) != 1 {
		return fmt.Errorf("expected a version, got message %d", kind)
	}
	negotiated := int(payload[0])
	if *updating {
		if err := tell(connection, update, nil); err != nil {
			return err
		}
	}
	for _, message := range []struct {
		kind          byte
		first, beyond int
		data          any
	}{
		{smbios, 0, 256, facts["smbios"]},
		{systemData, 6, 11, facts["inventory"]},
		{systemDataV2, 11, 256, facts["system-data"]},
		{annotations, 9, 256, map[string]string{"auth": "emulated-tpm", "reg-version": "peer"}},
		{labels, 0, 256, map[string]string{"made-by": "peer", "host": "${Runtime/Hostname}"}},
	} {
		facts, isFacts := message.data.(map[string]any)
		if negotiated < message.first || negotiated >= message.beyond || (isFacts && facts == nil) {
			continue
		}
		if err := tell(connection, message.kind, message.data); err != nil {
			return err
		}
	}
	if err := write(connection, get, nil); err != nil {
		return err
	}
	kind, payload, err = read(connection)
	if err != nil {
		return err
	}
	if kind != config && negotiated < 7 { // the bare document
		payload = append([]byte{kind}, payload...)
	} else if kind != config {
		return fmt.Errorf("message %d: %s", kind, payload)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"tpmHash": hash, "version": negotiated, "config": string(payload),
	})
}

func attestKey(tpm *attest.TPM) (token, hash string, key *attest.AK, err error) {
	endorsements, err := tpm.EKs()
	if err != nil || len(endorsements) == 0 {
		return "", "", nil, fmt.Errorf("no endorsement key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(endorsements[0].Public)
	if err != nil {
		return "", "", nil, err
	}
	if key, err = tpm.NewAK(nil); err != nil {
		return "", "", nil, err
	}
	parameters := key.AttestationParameters()
	data, err := json.Marshal(attestationData{
		EK: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		AK: &parameters,
	})
	return "Bearer TPM" + base64.StdEncoding.EncodeToString(data), fmt.Sprintf("%x", sha256.Sum256(public)), key, err
}

func dial(url, caCert, token string) (*websocket.Conn, error) {
	dialer := websocket.Dialer{HandshakeTimeout: 45 * time.Second}
	if caCert != "" {
		content, err := os.ReadFile(caCert)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(content)
		dialer.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	header := http.Header{"Authorization": []string{token}}
	connection, response, err := dialer.Dial(strings.Replace(url, "http", "ws", 1), header)
	if err != nil {
		if response != nil {
			body, _ := io.ReadAll(response.Body)
			return nil, fmt.Errorf("%d: %s", response.StatusCode, body)
		}
		return nil, err
	}
	deadline := time.Now().Add(10 * time.Second)
	_ = connection.SetReadDeadline(deadline)
	_ = connection.SetWriteDeadline(deadline)
	return connection, nil
}

// answerChallenge reads the challenge with one call of at most 512 bytes, as json.Decoder does first.
func answerChallenge(connection *websocket.Conn, tpm *attest.TPM, key *attest.AK, wrong bool) error {
	_, reader, err := connection.NextReader()
	if err != nil {
		return err
	}
	buffer := make([]byte, 512)
	count, err := reader.Read(buffer)
	if err != nil {
		return err
	}
	var challenge challengeMessage
	if err := json.Unmarshal(buffer[:count], &challenge); err != nil {
		return fmt.Errorf("the challenge did not come in one piece: %w", err)
	}
	secret, err := key.ActivateCredential(tpm, *challenge.EC)
	if err != nil {
		return fmt.Errorf("activating the credential: %w", err)
	}
	if wrong {
		secret = bytes.Repeat([]byte{7}, len(secret))
	}
	writer, err := connection.NextWriter(websocket.BinaryMessage)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(writer).Encode(challengeAnswer{Secret: secret}); err != nil {
		return err
	}
	return writer.Close()
}

func tell(connection *websocket.Conn, kind byte, data any) error {
	writer, err := connection.NextWriter(websocket.BinaryMessage)
	if err != nil {
		return err
	}
	if _, err := writer.Write([]byte{kind}); err != nil {
		return err
	}
	if data != nil {
		if err := json.NewEncoder(writer).Encode(data); err != nil {
			return err
		}
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return expectReady(connection)
}

func expectReady(connection *websocket.Conn) error {
	kind, payload, err := read(connection)
	if err != nil {
		return err
	}
	if kind != ready {
		return fmt.Errorf("expected ready, got message %d: %s", kind, payload)
	}
	return nil
}

func write(connection *websocket.Conn, kind byte, payload []byte) error {
	return connection.WriteMessage(websocket.BinaryMessage, append([]byte{kind}, payload...))
}

func read(connection *websocket.Conn) (byte, []byte, error) {
	form, data, err := connection.ReadMessage()
	if err != nil {
		return 0, nil, err
	}
	if form != websocket.BinaryMessage || len(data) == 0 {
		return 0, nil, fmt.Errorf("a message of form %d with %d bytes", form, len(data))
	}
	return data[0], data[1:], nil
}

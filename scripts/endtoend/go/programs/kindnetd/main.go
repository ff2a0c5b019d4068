// Kindnetd stands in for kind's own network daemon of that name, which is in no Go module.
//
// As that one does: it writes the node's CNI configuration (ptp, host-local, portmap) from the
// node's podCIDR, keeps a route to every other node's pods, and masquerades what leaves the
// pods' network. It has no network policies.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

const configuration = `{
  "cniVersion": "0.3.1",
  "name": "kindnet",
  "plugins": [
    {"type": "ptp", "ipMasq": false, "mtu": 1500,
     "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state",
              "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": %q}]]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

type node struct {
	Metadata struct{ Name string }
	Spec     struct{ PodCIDR string }
	Status   struct {
		Addresses []struct{ Type, Address string }
	}
}

func (n node) address() string {
	for _, item := range n.Status.Addresses {
		if item.Type == "InternalIP" {
			return item.Address
		}
	}
	return ""
}

func main() {
	own := os.Getenv("HOST_IP")
	subnet := os.Getenv("POD_SUBNET")
	if _, _, err := net.ParseCIDR(subnet); own == "" || err != nil {
		log.Fatalf("HOST_IP=%q POD_SUBNET=%q: %v", own, subnet, err)
	}
	client, err := client()
	if err != nil {
		log.Fatal(err)
	}
	for said := ""; ; time.Sleep(2 * time.Second) {
		err := reconcile(client, own, subnet)
		if text := fmt.Sprint(err); text != said {
			log.Print("state: ", text)
			said = text
		}
	}
}

func client() (*http.Client, error) {
	ca, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, nil
}

func nodes(client *http.Client) ([]node, error) {
	endpoint := os.Getenv("CONTROL_PLANE_ENDPOINT")
	if endpoint == "" {
		endpoint = net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	}
	request, err := http.NewRequest("GET", "https://"+endpoint+"/api/v1/nodes", nil)
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the API server answers %s", answer.Status)
	}
	var list struct{ Items []node }
	return list.Items, json.NewDecoder(answer.Body).Decode(&list)
}

func reconcile(client *http.Client, own, subnet string) error {
	if err := masquerade(subnet); err != nil {
		return err
	}
	all, err := nodes(client)
	if err != nil {
		return err
	}
	for _, item := range all {
		address := item.address()
		switch {
		case item.Spec.PodCIDR == "" || address == "":
		case address == own:
			err = write("/etc/cni/net.d/10-kindnet.conflist", fmt.Sprintf(configuration, item.Spec.PodCIDR))
		default:
			err = run("ip", "route", "replace", item.Spec.PodCIDR, "via", address)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// masquerade hides the pods behind the node, but for what goes to other pods.
func masquerade(subnet string) error {
	rules := [][]string{
		{"POSTROUTING", "-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", "KIND-MASQ-AGENT"},
		{"KIND-MASQ-AGENT", "-d", subnet, "-j", "RETURN"},
		{"KIND-MASQ-AGENT", "-j", "MASQUERADE"},
	}
	if run("iptables", "-w", "-t", "nat", "-n", "-L", "KIND-MASQ-AGENT") != nil {
		if err := run("iptables", "-w", "-t", "nat", "-N", "KIND-MASQ-AGENT"); err != nil {
			return err
		}
	}
	for _, rule := range rules {
		if run("iptables", append([]string{"-w", "-t", "nat", "-C"}, rule...)...) == nil {
			continue
		}
		if err := run("iptables", append([]string{"-w", "-t", "nat", "-A"}, rule...)...); err != nil {
			return err
		}
	}
	return nil
}

func write(path, text string) error {
	if now, err := os.ReadFile(path); err == nil && string(now) == text {
		return nil
	}
	next := filepath.Join(filepath.Dir(path), ".kindnet.new")
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(next, path)
}

func run(name string, args ...string) error {
	output, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, output)
	}
	return nil
}

// The gateway as one would write it in Go: the standard library's reverse proxy over x/oauth2's client credentials. It knows one
// upstream, asks nobody for a key and records nothing.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: goproxy PORT UPSTREAM TOKEN_URL")
	}
	upstream, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	client := clientcredentials.Config{ClientID: "bench", ClientSecret: "bench-secret", TokenURL: os.Args[3], AuthStyle: oauth2.AuthStyleInHeader}
	pool := http.DefaultTransport.(*http.Transport).Clone()
	pool.MaxIdleConns, pool.MaxIdleConnsPerHost, pool.IdleConnTimeout, pool.DisableCompression = 1024, 1024, 5*time.Minute, true
	proxy := httputil.NewSingleHostReverseProxy(upstream)
	proxy.Transport = &oauth2.Transport{Source: client.TokenSource(context.Background()), Base: pool}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, proxy))
}

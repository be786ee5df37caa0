// A token endpoint that answers every refresh at once: with new tokens, or with a status that is told at start. It keeps
// nothing and checks nothing, so that what is measured is who asks.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: goprovider PORT STATUS")
	}
	status, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	var requests, slow atomic.Int64
	http.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		n := requests.Add(1)
		if slow.Swap(0) > 0 {
			time.Sleep(5 * time.Second)
		}
		w.Header().Set("Content-Type", "application/json")
		if status != http.StatusOK {
			w.WriteHeader(status)
			io.WriteString(w, `{"error":"temporarily_unavailable"}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":"access-%d","token_type":"Bearer","expires_in":86400,"refresh_token":"refresh-%d"}`, n, n)
	})
	http.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, requests.Load())
	})
	// The next request is answered five seconds late.
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		slow.Store(1)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

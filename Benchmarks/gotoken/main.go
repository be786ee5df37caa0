// A token endpoint as one would write it by hand: the token in memory behind a lock, answered as JSON while it is
// fresh. No caller authentication, no audit, no store.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

type token struct {
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresAt   time.Time `json:"expires_at"`
	ExpiresIn   int64     `json:"expires_in"`
	Scope       []string  `json:"scope"`
	Generation  int       `json:"generation"`
	Refreshed   bool      `json:"refreshed"`
}

type cache struct {
	sync.Mutex
	token token
}

func (c *cache) fresh(now time.Time) (token, bool) {
	c.Lock()
	defer c.Unlock()
	t := c.token
	t.ExpiresIn = int64(t.ExpiresAt.Sub(now) / time.Second)
	return t, t.ExpiresIn > 60
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gotoken PORT BODY_FILE")
	}
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	var c cache
	if err := json.Unmarshal(text, &c.token); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/v1/connections/bench/token", func(w http.ResponseWriter, r *http.Request) {
		t, ok := c.fresh(time.Now())
		if !ok {
			http.Error(w, "the token has expired", http.StatusBadGateway)
			return
		}
		body, err := json.Marshal(t)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		w.Write(body)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

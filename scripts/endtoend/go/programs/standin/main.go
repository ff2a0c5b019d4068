// Standin answers in place of the programs of the app images (Ollama, LiteLLM, Open WebUI).
//
// It is a real process in a real pod, with the paths that probes, delivery and smoke tests ask
// for; it has no model, and says so in each answer. --port N, or its environment's PORT.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"context"
)

const notice = "a stand-in of the end-to-end run: there is no model here"

func main() {
	port := os.Getenv("PORT")
	for index, arg := range os.Args {
		if value, found := strings.CutPrefix(arg, "--port="); found {
			port = value
		} else if arg == "--port" && index+1 < len(os.Args) {
			port = os.Args[index+1]
		}
	}
	if port == "" {
		port = "8080"
	}
	host, _ := os.Hostname()
	server := &http.Server{Addr: ":" + port, Handler: handler(host)}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ended
		// Endpoints are taken out of Services while a pod ends: go on answering for a moment.
		time.Sleep(5 * time.Second)
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(limit)
	}()
	log.Printf("%s, on port %s", notice, port)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}

func handler(host string) http.Handler {
	mux := http.NewServeMux()
	say := func(pattern string, answer any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Pod", host)
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	type object = map[string]any
	message := object{"role": "assistant", "content": notice}
	say("GET /", object{"status": notice})
	say("GET /health", object{"status": true})
	say("GET /health/liveliness", "I'm alive!")
	say("GET /health/readiness", object{"status": "healthy"})
	say("GET /api/version", object{"version": "0.0.0"})
	say("GET /api/tags", object{"models": []any{}})
	say("POST /api/pull", object{"status": "success"})
	say("GET /v1/models", object{"object": "list", "data": []any{object{"id": "stand-in", "object": "model"}}})
	say("POST /v1/chat/completions", object{"id": "stand-in", "object": "chat.completion",
		"created": time.Now().Unix(), "model": "stand-in",
		"choices": []any{object{"index": 0, "finish_reason": "stop", "message": message}}})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Second)
		fmt.Fprintln(w, host)
	})
	return mux
}

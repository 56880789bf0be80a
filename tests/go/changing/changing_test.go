package changing

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"

	"consilium/tests/go/network"
)

const (
	contractName = "changing"
	// Any two of the three; later, of the four.
	twoOfThree = "OutOf(2,'HospitalMSP.peer','MakerMSP.peer','RegulatorMSP.peer')"
	twoOfFour  = "OutOf(2,'HospitalMSP.peer','MakerMSP.peer','RegulatorMSP.peer','ClinicMSP.peer')"
	// No call of an application may need longer, whatever happens meanwhile.
	patience = 2 * time.Minute
)

// An application writes and listens through all of it: each peer, the contract's service and
// orderers are killed and come back, the contract is upgraded, an organization joins. Then every
// acknowledged transaction is in every chain, once, and every listener has seen every event, once.
//
// CHANGING_ROUNDS says how often each node is killed, CHANGING_SEED in which order.
func TestNothingIsMissedOrSeenTwiceWhileTheNetworkChanges(t *testing.T) {
	whole := begin(t)
	for _, step := range []struct {
		name string
		run  func(*story, *testing.T)
	}{
		{"nodes are killed", (*story).kills},
		{"the contract gets a new version", (*story).upgrade},
		{"an organization joins", (*story).joins},
		{"its endorsement counts", (*story).endorses},
		{"nodes are killed again", (*story).kills},
	} {
		if !t.Run(step.name, func(inner *testing.T) { step.run(whole, inner) }) {
			return
		}
	}
	whole.compare(t)
}

// What one step leaves for the next.
type story struct {
	whole     *testing.T
	net       *network.Network
	random    *rand.Rand
	rounds    int
	writers   int
	service   *service
	person    network.Organization
	gateways  map[string]*client.Gateway
	listeners []listener

	stop     context.CancelFunc
	writing  sync.WaitGroup
	programs []*program
	lock     sync.Mutex
	// Transaction id to what its event carries.
	acknowledged map[string]string
}

func begin(t *testing.T) *story {
	t.Helper()
	seed, rounds := uint64(time.Now().UnixNano()), 1
	for name, value := range map[string]func(string) error{
		"CHANGING_SEED":   func(text string) (err error) { seed, err = strconv.ParseUint(text, 10, 64); return },
		"CHANGING_ROUNDS": func(text string) (err error) { rounds, err = strconv.Atoi(text); return },
	} {
		if text := os.Getenv(name); text != "" {
			network.Must(t, value(text))
		}
	}
	t.Logf("CHANGING_SEED=%d CHANGING_ROUNDS=%d", seed, rounds)
	s := &story{
		whole: t, net: network.Up(t), random: rand.New(rand.NewPCG(seed, 0)), rounds: rounds,
		gateways: map[string]*client.Gateway{}, acknowledged: map[string]string{},
	}
	s.person = s.net.Organization(t, "hospital")
	s.service = &service{binary: buildContract(t), port: network.FreePort(t)}
	s.service.id = s.net.Deploy(t, contractName, s.service.port, twoOfThree, "--version", "1.0")
	s.service.start(t)

	members := s.net.Organizations
	for _, member := range members {
		s.listenAt(t, "Go at "+member.Name, 0, member)
	}
	s.listenAt(t, "Go, from peer to peer", 0, members...)
	s.listeners = append(s.listeners, s.inNode(t, "events"), s.inNode(t, "blocks"), s.inJava(t, "events"))
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	t.Cleanup(stop)
	for at := range members {
		s.write(ctx, t, slices.Concat(members[at:], members[:at]))
	}
	s.programs = []*program{s.inNode(t, "write"), s.inJava(t, "write")}
	s.writers += len(s.programs)
	s.goesOn(t, "the load begins")
	return s
}

// The gateway of the hospital's person at that organization's peer.
func (s *story) gateway(t testing.TB, place network.Organization) *client.Gateway {
	t.Helper()
	if found := s.gateways[place.Name]; found != nil {
		return found
	}
	app := s.net.Application(s.whole, s.person, "User1", place.PeerAddress())
	made := app.Gateway(s.whole, client.WithSign(app.Sign),
		client.WithEndorseTimeout(5*time.Second), client.WithSubmitTimeout(5*time.Second), client.WithCommitStatusTimeout(5*time.Second))
	s.gateways[place.Name] = made
	return made
}

// A writer submits one transaction after the other, each with an event that nobody else has, until
// it is told to stop.
func (s *story) write(ctx context.Context, t testing.TB, places []network.Organization) {
	t.Helper()
	var gateways []*client.Gateway
	for _, place := range places {
		gateways = append(gateways, s.gateway(t, place))
	}
	s.writers++
	s.writing.Add(1)
	go func() {
		defer s.writing.Done()
		for count := 0; ctx.Err() == nil; count++ {
			payload := fmt.Sprintf("go-%s-%d", places[0].Name, count)
			if _, err := s.submit(gateways, payload); err != nil {
				s.whole.Errorf("%s: %v", payload, err)
				return
			}
			time.Sleep(30 * time.Millisecond)
		}
	}()
}

func (s *story) submit(gateways []*client.Gateway, payload string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	committed, err := Submit(ctx, gateways, s.net.Channel, contractName, "event", "Happened", payload)
	if err == nil && !committed.Successful {
		err = fmt.Errorf("%s is %s", committed.TransactionID, committed.Code)
	}
	if err != nil {
		return "", err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.acknowledged[committed.TransactionID] = payload
	return committed.TransactionID, nil
}

// How many transactions each writer has had acknowledged.
func (s *story) progress() map[string]int {
	done := map[string]int{}
	s.lock.Lock()
	for _, payload := range s.acknowledged {
		// Those of no writer have no number.
		if end := strings.LastIndex(payload, "-"); end > 0 {
			done[payload[:end]]++
		}
	}
	s.lock.Unlock()
	for _, writer := range s.programs {
		done[writer.name] = len(writer.seen())
	}
	return done
}

// Waits until every writer got on, and interrupts every listener in the middle of it.
func (s *story) goesOn(t testing.TB, after string) {
	t.Helper()
	before := s.progress()
	for _, one := range s.listeners {
		one.interrupt(t)
	}
	network.Eventually(t, "everybody goes on writing once "+after, func() error {
		now := s.progress()
		if len(now) < s.writers {
			return fmt.Errorf("writers so far: %v", now)
		}
		for who, done := range now {
			if done < before[who]+5 {
				return fmt.Errorf("%s had %d transactions, and has %d", who, before[who], done)
			}
		}
		return nil
	})
}

func (s *story) kills(t *testing.T) {
	type victim struct {
		name string
		kill func()
	}
	for range s.rounds {
		var victims []victim
		node := func(name string) {
			victims = append(victims, victim{name, func() {
				s.net.Kill(t, name)
				s.someTime()
				s.net.Revive(t)
			}})
		}
		for _, member := range s.net.Organizations {
			node(member.Peer())
		}
		node(s.net.Leader(t).Orderer())
		victims = append(victims, victim{"the contract", func() {
			s.service.Kill()
			s.someTime()
			s.service.start(s.whole)
		}})
		s.random.Shuffle(len(victims), func(a, b int) { victims[a], victims[b] = victims[b], victims[a] })
		for _, next := range victims {
			next.kill()
			s.goesOn(t, next.name+" was killed")
			t.Logf("%s was killed and came back: %v", next.name, s.progress())
		}
	}
}

// Something between nothing and a second.
func (s *story) someTime() { time.Sleep(time.Duration(s.random.IntN(1000)) * time.Millisecond) }

// The next version is another service of the same source; the first one ends.
func (s *story) upgrade(t *testing.T) {
	first := s.service
	second := &service{binary: first.binary, port: network.FreePort(t)}
	second.id = s.net.Deploy(t, contractName, second.port, twoOfThree, "--version", "2.0", "--upgrade")
	second.start(s.whole)
	first.Kill()
	s.service = second
	s.goesOn(t, "the second version is there")
}

// The clinic has a CA and a peer, and a place in the channel's configuration; with the next sequence
// of the contract it may endorse.
func (s *story) joins(t *testing.T) {
	_, err := s.net.Consilium("network", "add-org", "--free-ports", "--dir", s.net.Dir, "clinic")
	network.Must(t, err)
	s.net.Reload(t)
	s.goesOn(t, "the clinic is a member")
	id := s.net.Deploy(t, contractName, s.service.port, twoOfFour, "--version", "3.0", "--upgrade")
	if id != s.service.id {
		t.Fatalf("the same package is %s now, not %s", id, s.service.id)
	}
	s.goesOn(t, "the third version is there")
	out, _ := s.net.Admin(t, s.net.Organization(t, "clinic")).Peer(t,
		"lifecycle", "chaincode", "querycommitted", "-C", s.net.Channel, "-n", contractName)
	wanted := "Version: 3.0, Sequence: 3, Endorsement Plugin: escc, Validation Plugin: vscc, " +
		"Approvals: [ClinicMSP: true, HospitalMSP: true, MakerMSP: true, RegulatorMSP: true]"
	if !strings.Contains(out, wanted) {
		t.Fatalf("Fabric's peer reads %s", out)
	}
}

// People of the clinic listen from the first block on and from now on, and write at their own peer;
// its endorsement is one of the two that are needed.
func (s *story) endorses(t *testing.T) {
	clinic := s.net.Organization(t, "clinic")
	s.listenAt(s.whole, "Go at clinic", 0, clinic)
	ctx, stop := context.WithCancel(context.Background())
	before := s.stop
	s.stop = func() { before(); stop() }
	s.whole.Cleanup(stop)
	s.write(ctx, s.whole, append([]network.Organization{clinic}, s.net.Organizations[:3]...))
	s.goesOn(t, "the clinic listens and writes")

	app := s.net.Application(t, clinic, "User1", clinic.PeerAddress())
	shared := app.Gateway(t, client.WithSign(app.Sign)).GetNetwork(s.net.Channel).GetContract(contractName)
	_, commit, err := shared.SubmitAsync("event", client.WithArguments("Happened", "clinic"),
		client.WithEndorsingOrganizations("ClinicMSP", "MakerMSP"))
	network.Must(t, err)
	committed, err := commit.Status()
	network.Must(t, err)
	if !committed.Successful {
		t.Fatalf("endorsed by clinic and maker it is %s", committed.Code)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.acknowledged[committed.TransactionID] = "clinic"
}

// Ends the load, and compares what was acknowledged, what the peers have and what was seen.
func (s *story) compare(t *testing.T) {
	s.stop()
	s.writing.Wait()
	for _, writer := range s.programs {
		writer.stop(t)
		for _, line := range writer.seen() {
			id, payload, _ := strings.Cut(line, " ")
			s.acknowledged[id] = payload
		}
	}
	last, err := s.submit([]*client.Gateway{s.gateway(t, s.person)}, "last")
	network.Must(t, err)

	chains := map[string]*chain{}
	for _, member := range s.net.Organizations {
		chains[member.Name] = readChain(t, s.gateway(t, member).GetNetwork(s.net.Channel), last)
	}
	found := chains[s.person.Name]
	for name, other := range chains {
		if !slices.Equal(found.blocks, other.blocks) || !slices.Equal(found.calls, other.calls) {
			t.Errorf("the peers of %s and %s differ", s.person.Name, name)
		}
	}
	valid := found.valid()
	for id, payload := range s.acknowledged {
		if valid[id] != 1 {
			t.Errorf("%s (%s) was acknowledged, and is in the chain as valid %d times", id, payload, valid[id])
		}
	}
	for id := range valid {
		if _, known := s.acknowledged[id]; !known {
			t.Errorf("nobody knows of %s", id)
		}
	}
	for _, one := range s.listeners {
		s.compareListener(t, one, found)
	}
	t.Logf("%d transactions in %d blocks, seen by %d listeners that were interrupted many times",
		len(valid), len(found.blocks), len(s.listeners))
}

func (s *story) compareListener(t *testing.T, one listener, found *chain) {
	t.Helper()
	wanted := found.notes(one.of())
	network.Eventually(t, one.who()+" has seen the last block", func() error {
		if seen := one.seen(); !slices.Contains(seen, wanted[len(wanted)-1]) {
			return fmt.Errorf("it has seen %d of %d", len(seen), len(wanted))
		}
		return nil
	})
	one.stop(t)
	seen := one.seen()
	if blocks, _ := one.of(); blocks && len(seen) > len(wanted) {
		// Blocks may have followed the last transaction.
		seen = seen[:len(wanted)]
	}
	if slices.Equal(seen, wanted) {
		return
	}
	times := map[string]int{}
	for _, note := range seen {
		times[note]++
	}
	for _, note := range wanted {
		times[note]--
	}
	maps.DeleteFunc(times, func(_ string, count int) bool { return count == 0 })
	t.Errorf("%s has seen %d of %d; too often (or, below 0, too seldom): %v", one.who(), len(seen), len(wanted), times)
}

// SPDX-License-Identifier: Apache-2.0

package bypass

// Ways to a destination that policy denies.
var networkRows = []Row{
	{
		ID: "N1", Attack: "plain TCP, IPv4 and IPv6", Hook: "cgroup/connect4, connect6: rules by address; redirected, and judged by name", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestDeniedDestinationCannotBeReached/connect", "ebpf TestConnectionsAreSentHome/v6", "tests/e2e TestManagedNetwork/curl"},
	},
	{
		ID: "N2", Attack: "IPv4-mapped IPv6, NAT64", Hook: "normalised before it is judged", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestDeniedDestinationCannotBeReached/mapped", "ebpf TestConnectionsAreSentHome/mapped", "ebpf TestConnectionsAreSentHome/nat64"},
	},
	{
		ID: "N3", Attack: "TCP Fast Open, also deferred to the first write", Hook: "cgroup/connect4, connect6", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/enforce TestDeniedDestinationCannotBeReached/fastopen", "ebpf TestConnectionsAreSentHome/fast open v6",
			"ebpf TestWaysAroundTheManagedNetwork/a deferred connection", "tests/e2e TestManagedNetwork/curl fast open",
		},
	},
	{
		ID: "N4", Attack: "io_uring CONNECT", Hook: "cgroup/connect4, connect6", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestDeniedDestinationCannotBeReached/uring", "ebpf TestUringIsSentHome"},
	},
	{
		ID: "N5", Attack: "io_uring through the kernel's workers or its polling thread, with registered files; datagrams and sockets by it", Hook: "cgroup/connect4, connect6", Core: "the same", Verdict: Stopped,
		Why:   "since Linux 5.12, whose workers are threads of the process",
		Tests: []string{"daemon/enforce TestDeniedDestinationCannotBeReached/uring-async", "ebpf TestUringIsSentHome"},
	},
	{
		ID: "N6", Attack: "UDP to where it likes (QUIC, mDNS)", Hook: "cgroup/sendmsg4, sendmsg6: under a managed network only DNS, which goes to the resolver, and what a rule names", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/enforce TestDeniedDestinationCannotBeReached/udp", "ebpf TestManagedNetworkRefuses/quic, unconnected",
			"ebpf TestManagedNetworkRefuses/mdns", "ebpf TestWaysAroundTheManagedNetwork/two datagrams with one call",
		},
	},
	{
		ID: "N7", Attack: "UDP, connected; and connected anew after a DNS server", Hook: "cgroup/connect4, connect6, each time", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/enforce TestDeniedDestinationCannotBeReached/udp-connected", "ebpf TestManagedNetworkRefuses/quic",
			"ebpf TestWaysAroundTheManagedNetwork/connected to DNS, then elsewhere", "tests/e2e TestManagedNetwork/quic",
		},
	},
	{
		ID: "N8", Attack: "a connection that somebody else made, or that was there before it was governed", Verdict: NotCovered,
		Why:   "connections are judged when they are made. To the proxy's port such a connection is nobody's, and turned away; a socket that comes unconnected is judged by who connects it",
		Tests: []string{"ebpf TestWaysAroundTheManagedNetwork/passed sockets"},
	},
	{
		ID: "N9", Attack: "raw and packet sockets", Hook: "cgroup/sock_create, socket_create", Core: "cgroup/sock_create: raw", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestDeniedDestinationCannotBeReached/raw", "daemon/enforce TestDeniedDestinationCannotBeReached/raw6"},
	},
	{
		ID: "N10", Attack: "a service that connects, or resolves names, for whoever asks at its unix socket", Hook: "unix_stream_connect, unix_may_send: sockets by inode and name", Verdict: Stopped,
		Why:   "of services that are in the list; requirements add others",
		Tests: []string{"daemon/enforce TestBoundary/A5 the socket of a broker", "daemon/enforce TestBoundary/A5 a resolver of the machine", "daemon/policy TestDeniedUnixSockets"},
	},
	{
		ID: "N11", Attack: "other families and protocols (vsock, SMC, MPTCP, SCTP, DCCP)", Hook: "cgroup/sock_create, socket_create", Core: "cgroup/sock_create: internet protocols", Verdict: Stopped,
		Tests: []string{
			"daemon/enforce TestDeniedDestinationCannotBeReached/mptcp", "daemon/enforce TestDeniedDestinationCannotBeReached/sctp",
			"daemon/enforce TestDeniedDestinationCannotBeReached/dccp",
		},
	},
	{
		ID: "N12", Attack: "another network namespace, or a socket from there; a mark; another device", Hook: "the socket's namespace is looked at; marks mean nothing; a socket bound to a device is refused", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"ebpf TestOtherNamespacesAreRefused", "ebpf TestWaysAroundTheManagedNetwork/a socket of another namespace",
			"ebpf TestWaysAroundTheManagedNetwork/a socket of ours from another namespace",
		},
	},
	{
		ID: "N13", Attack: "an address instead of a name", Hook: "an address that no name led to is judged as an address", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestManagedNetwork/an address instead of a name"},
	},
	{
		ID: "N14", Attack: "a name that leads to another address later, or to a near one (rebinding)", Hook: "names are bound to addresses for each session and a time; the address is judged too", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/egress/resolver TestAnswersAreBound", "daemon/egress/resolver TestBindingsAreBounded",
			"tests/e2e TestManagedNetwork/a name that leads home", "tests/e2e TestManagedNetwork/a name that leads to metadata",
		},
	},
	{
		ID: "N15", Attack: "other DNS: another server, over TLS or HTTPS, by multicast; data in names", Hook: "every port 53 goes to the resolver; 853, known services over HTTPS and other UDP are refused; what is said in names is limited", Core: "the same", Verdict: Partly,
		Why: "16 KiB in names of one domain, 64 KiB in all, a day for each session, and 9.5 KiB by repeating questions; when they are asked is not counted; a DNS service over HTTPS that nobody knows is an unfamiliar host",
		Tests: []string{
			"ebpf TestDNSIsSentHome", "ebpf TestManagedNetworkRefuses/dns over tls", "daemon/egress/resolver TestTunnelsAreStopped",
			"daemon/egress/resolver TestTunnelsToManyDomains", "daemon/egress/resolver TestTunnelsThroughTheProxy", "daemon/egress/resolver TestWhatIsRepeatedStaysHere",
			"daemon/egress/resolver TestUnfamiliarNamesThatAreLetThroughAreNotAllowedByName", "daemon/egress/resolver TestNamesThatAreRefused", "daemon/egress TestUpstreamProxy",
			"tests/e2e TestManagedNetwork/another server's DNS",
		},
	},
	{
		ID: "N41", Attack: "have data or instructions brought in by records of an unfamiliar name: TXT, keys and signatures, parameters of services that nobody knows, thousands of records", Hook: "the resolver gives addresses, names and what is known of services, 64 of a kind", Core: "the same", Verdict: Partly,
		Why:   "addresses and names are data, too",
		Tests: []string{"daemon/egress/resolver TestNamesThatAreRefused", "daemon/egress/resolver TestServiceRecordsHideNothing", "daemon/egress/resolver TestSignaturesOfUnfamiliarNames", "daemon/egress/resolver TestAnswersWithThousandsOfAddresses"},
	},
	{
		ID: "N42", Attack: "keep other sessions from resolving: a flood of questions, connections that say nothing, slow servers, answers with thousands of addresses", Hook: "the resolver counts for each session before a question takes a place; an address costs the same however many there are", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/egress/resolver TestAFloodOfQuestionsHarmsNobodyElse", "daemon/egress/resolver TestGate", "daemon/egress/resolver TestHostileSessionHarmsNobodyElse",
			"daemon/egress/resolver TestBindingCostsTheSameWhenFull", "daemon/egress/resolver TestAnswersWithThousandsOfAddresses",
		},
	},
	{
		ID: "N43", Attack: "be taken for root by a service on this machine that looks up whose a connection is (ident), or leave past a firewall's rules about the user: the daemon is who connects", Hook: "near addresses are denied unless they are named; what a firewall says of users belongs into rules of the network", Core: "the same", Verdict: Partly,
		Why:   "a service that a rule names sees root, and rules of others about the user or his cgroup do not hold: see [network.md](network.md#what-the-machine-sees)",
		Tests: []string{"tests/e2e TestManagedNetwork/somebody else's server", "tests/e2e TestManagedNetwork/somebody else's server, by localhost"},
	},
	{
		ID: "N16", Attack: "one name in the hello, another one meant; an encrypted hello", Hook: "the name must lead to the address; the resolver takes keys for ECH out of answers", Core: "the same", Verdict: Partly,
		Why:   "what is asked for inside TLS, of a server that has several names, is not seen",
		Tests: []string{"tests/e2e TestManagedNetwork/an allowed name to another address", "daemon/egress TestNamesMustLeadToTheAddress", "daemon/egress TestASecondHello", "daemon/egress/resolver TestServiceRecordsHideNothing"},
	},
	{
		ID: "N17", Attack: "a host that two programs read differently: NUL, dot at the end, case, IDN, @, zone, octal", Hook: "hosts have one form, and what is not clear is refused", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/policy TestHostsHaveOneForm", "daemon/policy TestWhatTwoProgramsReadDifferentlyIsNoHost", "daemon/egress TestWhatIsNotClearIsRefused", "daemon/egress TestNothingIsSmuggled"},
	},
	{
		ID: "N18", Attack: "another host later: inside of a proxy's tunnel, in another request, after a long silence", Hook: "what is said to it and inside is judged too", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/egress TestAnotherProxyIsJudgedTwice", "daemon/egress TestEveryRequestIsJudged", "daemon/egress TestChunksThatHideARequest",
			"daemon/egress TestHTTP2WithSeveralAuthorities", "daemon/egress TestWhatASilentClientSaysLateIsJudged",
		},
	},
	{
		ID: "N32", Attack: "a harmless first request on a connection, so that events tell of no other; thousands of them, or hundreds of hosts, before the one that counts", Hook: "each host, method, decider and decision of a connection has an event, at once", Core: "the same", Verdict: Stopped,
		Why:   "inside of TLS there is one name for the connection",
		Tests: []string{"daemon/egress TestEveryHostOfAConnectionIsTold", "daemon/egress TestNoHostHidesBehindManyOthers", "daemon/egress TestObserveTellsOfLaterRequests", "daemon/egress TestBytesOfAnUpgradeByURL"},
	},
	{
		ID: "N33", Attack: "a connection that stays open when its host comes to be denied", Hook: "what is open is judged again with the new requirements, and cut", Core: "the same", Verdict: Stopped,
		Why:   "in mode enforce, of what goes through the proxy",
		Tests: []string{"daemon/egress TestANewDenyCutsWhatIsOpen"},
	},
	{
		ID: "N34", Attack: "another client's connection to a server, on which somebody has logged in, by the proxy for clients that use one", Hook: "each client has its own, and what is open for it ends with it", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/egress TestNobodySharesAConnectionToAServer"},
	},
	{
		ID: "N31", Attack: "HTTP or SOCKS passed off as something that names no host: a method like git's packets, one that is endless or cannot be one, a greeting that offers no login, in however many segments", Hook: "what any server might take for a request is no raw bytes, and of these the first line is looked at to its end", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/egress TestARequestInDisguise", "daemon/egress TestWhatIsNotClearIsRefused", "daemon/egress TestWhatIsNoRequestPasses"},
	},
	{
		ID: "N19", Attack: "no proxy setting, or another one", Hook: "nothing hangs on it: the kernel sends connections to the proxy", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestManagedNetwork/curl, no proxy"},
	},
	{
		ID: "N20", Attack: "services on loopback and on the machine's other addresses, forwarders and metadata", Hook: "near addresses are denied unless they are named, and the machine's own are near; Paddock's own ports are told apart", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestManagedNetwork/metadata", "daemon/egress TestTheMachinesOwnAddresses", "daemon/policy TestLocalBindingOpensNoMetadata", "ebpf TestConnectionsAreSentHome/loopback", "ebpf TestManagedNetworkRefuses/the proxy itself"},
	},
	{
		ID: "N22", Attack: "to the proxy's own port, in another's name; to listen there", Hook: "cgroup/connect4, connect6; who is behind a connection is known from its socket", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"ebpf TestManagedNetworkRefuses/the proxy itself", "ebpf TestWaysAroundTheManagedNetwork/one port after the other",
			"ebpf TestWaysAroundTheManagedNetwork/another listener",
		},
	},
	{
		ID: "N26", Attack: "the proxy for clients that use one, or another session's bridge, from outside of it", Hook: "the kernel knows who connects; a bridge is for its session alone", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestProxyAndBridge", "ebpf TestOtherNamespacesHaveTheirOwn"},
	},
	{
		ID: "N27", Attack: "hand the bridge a listener at home, where anybody may connect to it, or files beside it until the daemon can open none", Hook: "a bridge is for another namespace; what is not a listener alone is closed", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestProxyAndBridge/the bridge, at home", "tests/e2e TestProxyAndBridge"},
	},
	{
		ID: "N28", Attack: "somebody else's service on loopback, as if it were the session's: a port that the session had, shares, or got a descriptor for", Hook: "whose process made the socket, looked at by connect and by cgroup_skb/egress, which sees who took the SYN", Core: "the same", Verdict: Stopped,
		Tests: []string{"ebpf TestOthersAreNotTheSession", "ebpf TestWhoTakesThePortGetsNothing", "tests/e2e TestManagedNetwork/somebody else's server"},
	},
	{
		ID: "N30", Attack: "somebody else's service for datagrams, as if it were a client of the session's server: one that asks and answers with one socket, another user's, one whose server's port is shared or taken", Hook: "who is answered is connected to where the answer comes from, by the same user, and what it says comes to the session: looked at by sendmsg and by cgroup_skb/egress", Core: "the same", Verdict: Stopped,
		Tests: []string{"ebpf TestAServerForDatagramsAnswersItsClients"},
	},
	{
		ID: "N29", Attack: "keep a bridge beyond the end of its session, by a process of nobody's", Hook: "it ends with its session", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestProxyAndBridge"},
	},
	{
		ID: "N23", Attack: "to wait until Paddock is dead", Hook: "without a living daemon nothing is redirected, and everything is refused", Core: "the same", Verdict: Stopped,
		Tests: []string{"ebpf TestManagedNetworkFailsClosed", "tests/e2e TestDeathOfTheManagedNetwork"},
	},
	{
		ID: "N24", Attack: "connections from outside to what a session listens on", Verdict: NotCovered,
		Why: "only what a session itself makes is judged",
	},
	{
		ID: "N36", Attack: "have others find no network: connections that are not read from until the kernel's memory for them is used up, requests whose heads never end", Hook: "a few connections of a session have what the kernel gives, the others small buffers; of what is looked at, a session has a share", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/egress TestClientsThatDoNotReadKeepLittle", "daemon/egress TestLongHeadsOfOneSessionKeepNobodyElse", "daemon/egress TestAnAnswerThatDoesNotEnd"},
	},
	{
		ID: "N25", Attack: "have what was sent to the proxy or the resolver, or may go to loopback, leave by another device: IP_PKTINFO, IP_UNICAST_IF, SO_BINDTODEVICE on a socket that is connected, a source route", Hook: "cgroup_skb/egress: it stays on loopback", Core: "the same", Verdict: Stopped,
		Tests: []string{"ebpf TestNothingThatIsSentHomeLeavesByADevice"},
	},
}

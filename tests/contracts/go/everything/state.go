package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

var stateFunctions = map[string]function{
	"put":          put,
	"get":          get,
	"del":          del,
	"getMany":      getMany,
	"putMany":      putMany,
	"batch":        batch,
	"range":        rangeOf,
	"rangePage":    rangePage,
	"putComposite": putComposite,
	"partial":      partial,
	"partialPage":  partialPage,
	"allPage":      allPage,
	"history":      history,
	"query":        query,
	"queryPage":    queryPage,
	"pageAndPut":   pageAndPut,
}

func put(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return nil, stub.PutState(args[0], []byte(args[1]))
}

func get(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	value, err := stub.GetState(args[0])
	if err == nil && len(value) == 0 {
		err = errors.New("no such key " + args[0])
	}
	return value, err
}

func del(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return nil, stub.DelState(args[0])
}

func getMany(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	values, err := stub.GetMultipleStates(args...)
	return texts(values), err
}

// putMany PREFIX COUNT
func putMany(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	count, err := strconv.Atoi(args[1])
	for number := 0; err == nil && number < count; number++ {
		err = stub.PutState(fmt.Sprintf("%s%04d", args[0], number), []byte(strconv.Itoa(number)))
	}
	return nil, err
}

// batch PREFIX COUNT: the same in one batch, whose last record deletes what the first wrote.
func batch(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	stub.StartWriteBatch()
	if _, err := putMany(stub, args); err != nil {
		return nil, err
	}
	if err := stub.DelState(args[0] + "0000"); err != nil {
		return nil, err
	}
	return nil, stub.FinishWriteBatch()
}

func rangeOf(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return entries(stub.GetStateByRange(args[0], args[1]))
}

func rangePage(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	size, err := pageSize(args[2])
	if err != nil {
		return nil, err
	}
	return page(stub.GetStateByRangeWithPagination(args[0], args[1], size, args[3]))
}

// putComposite VALUE TYPE ATTRIBUTE…
func putComposite(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	key, err := stub.CreateCompositeKey(args[1], args[2:])
	if err != nil {
		return nil, err
	}
	return nil, stub.PutState(key, []byte(args[0]))
}

func partial(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	found, err := entries(stub.GetStateByPartialCompositeKey(args[0], args[1:]))
	if err != nil {
		return nil, err
	}
	return split(stub, found)
}

// partialPage SIZE BOOKMARK TYPE ATTRIBUTE…
func partialPage(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	size, err := pageSize(args[0])
	if err != nil {
		return nil, err
	}
	return compositePage(stub)(stub.GetStateByPartialCompositeKeyWithPagination(args[2], args[3:], size, args[1]))
}

// allPage SIZE BOOKMARK
func allPage(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	size, err := pageSize(args[0])
	if err != nil {
		return nil, err
	}
	return compositePage(stub)(stub.GetAllStatesCompositeKeyWithPagination(size, args[1]))
}

type change struct {
	TxID    string `json:"txId"`
	Value   string `json:"value"`
	Deleted bool   `json:"deleted"`
	Seconds int64  `json:"seconds"`
}

func history(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	iterator, err := stub.GetHistoryForKey(args[0])
	if err != nil {
		return nil, err
	}
	defer iterator.Close()
	changes := []change{}
	for iterator.HasNext() {
		next, err := iterator.Next()
		if err != nil {
			return nil, err
		}
		changes = append(changes, change{next.TxId, string(next.Value), next.IsDelete, next.Timestamp.Seconds})
	}
	return changes, nil
}

func query(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	return entries(stub.GetQueryResult(args[0]))
}

// queryPage QUERY SIZE BOOKMARK
func queryPage(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	size, err := pageSize(args[1])
	if err != nil {
		return nil, err
	}
	return page(stub.GetQueryResultWithPagination(args[0], size, args[2]))
}

// pageAndPut START END: a transaction that turns pages may not write.
func pageAndPut(stub shim.ChaincodeStubInterface, args []string) (any, error) {
	if _, err := page(stub.GetStateByRangeWithPagination(args[0], args[1], 1, "")); err != nil {
		return nil, err
	}
	return nil, stub.PutState("never", []byte("written"))
}

// An entry is its key and its value, in this order.
type entry [2]any

func entries(iterator shim.StateQueryIteratorInterface, err error) ([]entry, error) {
	if err != nil {
		return nil, err
	}
	defer iterator.Close()
	found := []entry{}
	for iterator.HasNext() {
		next, err := iterator.Next()
		if err != nil {
			return nil, err
		}
		found = append(found, entry{next.Key, string(next.Value)})
	}
	return found, nil
}

type turned struct {
	Entries  []entry `json:"entries"`
	Bookmark string  `json:"bookmark"`
	Fetched  int32   `json:"fetched"`
}

func page(iterator shim.StateQueryIteratorInterface, metadata *peer.QueryResponseMetadata, err error) (*turned, error) {
	found, err := entries(iterator, err)
	if err != nil {
		return nil, err
	}
	return &turned{found, metadata.GetBookmark(), metadata.GetFetchedRecordsCount()}, nil
}

func compositePage(stub shim.ChaincodeStubInterface) func(shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) (any, error) {
	return func(iterator shim.StateQueryIteratorInterface, metadata *peer.QueryResponseMetadata, err error) (any, error) {
		turned, err := page(iterator, metadata, err)
		if err != nil {
			return nil, err
		}
		turned.Entries, err = split(stub, turned.Entries)
		return turned, err
	}
}

// The same entries with their keys taken apart: the type, then the attributes.
func split(stub shim.ChaincodeStubInterface, found []entry) ([]entry, error) {
	for index := range found {
		objectType, attributes, err := stub.SplitCompositeKey(found[index][0].(string))
		if err != nil {
			return nil, err
		}
		found[index][0] = append([]string{objectType}, attributes...)
	}
	return found, nil
}

func pageSize(text string) (int32, error) {
	size, err := strconv.ParseInt(text, 10, 32)
	return int32(size), err
}

func texts(values [][]byte) []string {
	found := make([]string, len(values))
	for index, value := range values {
		found[index] = string(value)
	}
	return found
}

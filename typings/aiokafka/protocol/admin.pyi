from typing import Any

from .api import Request, RequestStruct, Response

# One class stands for every negotiated version of a response; a field is declared as the
# newest version that the client speaks has it (tuples hold a trailing element per version).

class CreateTopicsResponse(Response):
    topic_errors: list[tuple[str, int, str | None]]

class DeleteTopicsResponse(Response):
    topic_error_codes: list[tuple[str, int]]

class CreatePartitionsResponse(Response):
    topic_errors: list[tuple[str, int, str | None]]

class AlterConfigsResponse(Response):
    resources: list[tuple[int, str | None, int, str]]

class DescribeConfigsResponse(Response):
    resources: list[tuple[int, str | None, int, str, list[tuple[Any, ...]]]]

class CreateAclsResponse(Response):
    creation_responses: list[tuple[int, str | None]]

class DescribeAclsResponse(Response):
    error_code: int
    error_message: str | None
    resources: list[tuple[Any, ...]]

class DeleteAclsResponse(Response):
    filter_responses: list[tuple[Any, ...]]

class CreateAclsRequest(Request[RequestStruct]):
    def __init__(
        self,
        resource_type: int,
        resource_name: str,
        resource_pattern_type_filter: int,
        principal: str,
        host: str,
        operation: int,
        permission_type: int,
    ) -> None: ...
    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct: ...

class DescribeAclsRequest(Request[RequestStruct]):
    def __init__(
        self,
        resource_type: int,
        resource_name: str | None,
        resource_pattern_type_filter: int | None,
        principal: str | None,
        host: str | None,
        operation: int,
        permission_type: int,
    ) -> None: ...
    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct: ...

class DeleteAclsRequest(Request[RequestStruct]):
    def __init__(
        self,
        resource_type: int,
        resource_name: str | None,
        resource_pattern_type_filter: int | None,
        principal: str | None,
        host: str | None,
        operation: int,
        permission_type: int,
    ) -> None: ...
    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct: ...

import abc
from typing import Any, ClassVar, Generic, TypeVar

from .types import Schema

T = TypeVar("T", bound=RequestStruct)  # noqa: PYI001 - the name of the library.

class Struct:
    SCHEMA: ClassVar[Schema]
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    # A struct has one attribute for each field of its schema.
    def __getattr__(self, name: str) -> Any: ...

class Response(Struct):
    API_KEY: ClassVar[int]
    API_VERSION: ClassVar[int]
    def to_object(self) -> dict[str, Any]: ...

class RequestStruct(Struct):
    FLEXIBLE_VERSION: ClassVar[bool]
    API_KEY: ClassVar[int]
    API_VERSION: ClassVar[int]
    RESPONSE_TYPE: ClassVar[type[Response]]

class Request(abc.ABC, Generic[T]):
    API_KEY: ClassVar[int]
    ALLOW_UNKNOWN_API_VERSION: ClassVar[bool]
    @abc.abstractmethod
    def build(self, request_struct_class: type[T]) -> T: ...
